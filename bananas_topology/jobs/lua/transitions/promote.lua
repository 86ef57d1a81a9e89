--[[
Move delayed jobs that are due into their queues.

KEYS[1]  queue:scheduled
ARGV[1]  prefix
ARGV[2]  maximum number of jobs to move
RETURNS  number of jobs moved; ARGV[2] if more may be due
--]]
accept_oom(KEYS[1])
local prefix, wakes = ARGV[1], {}
local moved = promote_due(prefix, ARGV[2], wakes)
notify(prefix, wakes)
return moved
