--[[
Notify idle workers of the jobs in a queue, for producers that push without notifying.

KEYS[1]  queue:<priority>
ARGV[1]  prefix
ARGV[2]  priority
RETURNS  {1 if a notification was added, 0 if there is nothing to run or all of them were still
          waiting for an idle worker,
          number of jobs in the queue}
--]]
local queue, prefix, priority = KEYS[1], ARGV[1], ARGV[2]

-- The newest jobs are looked at: older ones were announced before. A worker that claims finds the
-- types of all others.
local NEWEST = 10

-- Size of the part of a body, in bytes, that has the job's type, unless another kind of producer
-- wrote it; workers that accept only some types then find the job by their timed claim.
local HEAD = 1024

local wakes = { [priority] = true }
for _, id in ipairs(call('LRANGE', queue, 0, NEWEST - 1)) do
  local head = redis.pcall('GETRANGE', prefix .. ':job:' .. id, 0, HEAD - 1)
  local job_type = type(head) == 'string' and job_type_of(head)
  if job_type then
    wakes[priority .. ':' .. job_type] = true
  end
end
local length = call('LLEN', queue)
return { length > 0 and notify(prefix, wakes) and 1 or 0, length }
