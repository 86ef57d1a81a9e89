--[[
A worker's sign of life: its lease on all its claims starts anew, and what it says of itself is
stored. Refused when another process has taken the worker's id since. In return the worker learns
whose leases have run out.

Only a worker whose own lease is unbroken learns of others': when the server was away for all, each
gets the time to come back before anybody takes its jobs.

KEYS[1]  workers
KEYS[2]  worker:<worker>
ARGV[1]  worker id
ARGV[2]  lease in milliseconds
ARGV[3]  incarnation: unique to the process
ARGV[4]  "boot" takes the id over, "beat" does not
ARGV[5]  workers to tell of at the most
then     fields and values for worker:<worker>
RETURNS  {1, or 0 when the id is another process's now,
          milliseconds until the next lease of any worker runs out,
          then the ids of workers whose lease has run out}
--]]
local workers, worker = KEYS[1], KEYS[2]
local id, lease_ms, incarnation, is_boot = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4] == 'boot'
local current = call('HGET', worker, 'incarnation')
if not is_boot and current and current ~= incarnation then
  return { 0, lease_ms }
end

local _, now_ms = now()
local until_ms = call('ZSCORE', workers, id)
call('ZADD', workers, now_ms + lease_ms, id)
call('HSET', worker, 'incarnation', incarnation, 'seen_ms', now_ms, unpack(ARGV, 6))
-- Long past its lease it is of no use; reaping removes it much earlier.
call('PEXPIRE', worker, lease_ms * 100)

local next_one = call('ZRANGEBYSCORE', workers, '(' .. now_ms, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local replies = { 1, tonumber(next_one[2]) - now_ms }
if not is_boot and until_ms and tonumber(until_ms) > tonumber(now_ms) then
  for _, other in ipairs(call('ZRANGEBYSCORE', workers, '-inf', now_ms, 'LIMIT', 0, ARGV[5])) do
    replies[#replies + 1] = other
  end
end
return replies
