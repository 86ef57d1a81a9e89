--[[
Move scheduled jobs that are due into their queues.

KEYS[1]  queue:scheduled
ARGV[1]  prefix
ARGV[2]  jobs to move at the most
RETURNS  number of jobs moved; ARGV[2] where there may be more
--]]
local prefix, rung = ARGV[1], {}
local moved = promote(prefix, ARGV[2], rung)
ring(prefix, rung)
return moved
