--[[
Store the effective definition of a schedule, for listing schedules and running one manually.

KEYS[1]  schedule:definitions
KEYS[2]  schedules:<name>
ARGV[1]  name
ARGV[2]  id of the definition
ARGV[3]  the definition as JSON
RETURNS  1
--]]
accept_oom(KEYS[1])
call('HSET', KEYS[1], ARGV[1], ARGV[3])
call('HSET', KEYS[2], 'defined', ARGV[2])
return 1
