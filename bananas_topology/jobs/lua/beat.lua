--[[
A worker's sign of life: its lease on all its claims starts anew, and what it says of itself is
stored. Refused when another process has taken the worker's id since.

KEYS[1]  workers
KEYS[2]  worker:<worker>
ARGV[1]  worker id
ARGV[2]  lease in milliseconds
ARGV[3]  incarnation: unique to the process
ARGV[4]  "boot" takes the id over, "beat" does not
then     fields and values for worker:<worker>
RETURNS  1, or 0 when the id is another process's now
--]]
local workers, worker = KEYS[1], KEYS[2]
local id, lease_ms, incarnation = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local current = redis.call('HGET', worker, 'incarnation')
if ARGV[4] == 'beat' and current and current ~= incarnation then
  return 0
end

local _, now_ms = now()
redis.call('ZADD', workers, now_ms + lease_ms, id)
redis.call('HSET', worker, 'incarnation', incarnation, 'seen_ms', string.format('%.0f', now_ms))
for i = 5, #ARGV, 2 do
  redis.call('HSET', worker, ARGV[i], ARGV[i + 1])
end
-- Long past its lease it is of no use; reaping removes it much earlier.
redis.call('PEXPIRE', worker, lease_ms * 100)
return 1
