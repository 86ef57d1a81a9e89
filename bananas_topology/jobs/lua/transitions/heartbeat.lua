--[[
Renew a worker's lease on all its claims and store what it reports about itself. Rejected if another
process has taken over the worker id. The reply names workers whose leases have expired.

Only a worker whose own lease has not lapsed is told about expired ones: after an outage of the
server, every worker gets time to come back before its jobs are recovered.

KEYS[1]  workers
KEYS[2]  worker:<worker>
ARGV[1]  worker id
ARGV[2]  lease in milliseconds
ARGV[3]  incarnation: unique to the process
ARGV[4]  "boot" takes over the id, "beat" does not
ARGV[5]  maximum number of expired workers to return
then     fields and values for worker:<worker>
RETURNS  {1, or 0 if another process has taken over the id,
          milliseconds until the next lease of any worker expires,
          then the ids of workers whose lease has expired}
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
-- A backstop only: reaping removes the key long before this.
call('PEXPIRE', worker, lease_ms * 100)

local nearest = call('ZRANGEBYSCORE', workers, '(' .. now_ms, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local replies = { 1, tonumber(nearest[2]) - now_ms }
if not is_boot and until_ms and tonumber(until_ms) > tonumber(now_ms) then
  for _, other in ipairs(call('ZRANGEBYSCORE', workers, '-inf', now_ms, 'LIMIT', 0, ARGV[5])) do
    replies[#replies + 1] = other
  end
end
return replies
