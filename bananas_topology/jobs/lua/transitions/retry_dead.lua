--[[
Put dead jobs back into their queues as new jobs: what is stored about their runs is deleted. A
job that is no longer dead is left alone.

KEYS[1]  queue:dead
ARGV[1]  prefix
ARGV[2]  start of the range of the list to search
ARGV[3]  end of that range (see dead_list.lua)
then four per job: id, body, priority, job type
RETURNS  {number of jobs requeued, number of list entries removed}
--]]
accept_oom(KEYS[1])
local dead, prefix = KEYS[1], ARGV[1]
local wanted, wakes, retried = {}, {}, 0
for i = 4, #ARGV, 4 do
  wanted[ARGV[i]] = true
end

local found, positions = find_dead(dead, ARGV[2], ARGV[3], wanted)
for i = 4, #ARGV, 4 do
  local id, priority, job_type = ARGV[i], ARGV[i + 2], ARGV[i + 3]
  if found[id] then
    found[id] = nil -- an id that is in the list twice is one job
    call('SET', prefix .. ':job:' .. id, ARGV[i + 1])
    delete_outcomes(prefix, id)
    call('LPUSH', prefix .. ':queue:' .. priority, id)
    wakes[priority] = true
    wakes[priority .. ':' .. job_type] = true
    retried = retried + 1
  end
end
remove_dead(dead, positions)
notify(prefix, wakes)
return { retried, #positions }
