--[[
Renew a worker's lease on all its claims and store what it reports about itself. Rejected if another
process has taken over the worker id. The reply names workers whose leases have expired.

While the server is away, no worker can renew its lease, however alive it is. A worker for whose half
lease no worker at all was in contact therefore gets a full lease from now, before any is reported as
expired. A few times only: if there is just one other worker, and that one beats too slowly, the two
cases look alike, and a dead worker has to be reaped in the end.

A process that runs this is alive: crashes that were recorded because it seemed to be gone (see
recover.lua) are withdrawn.

KEYS[1]  workers
KEYS[2]  worker:<worker>
KEYS[3]  heartbeat
KEYS[4]  crashed:<incarnation>
ARGV[1]  prefix
ARGV[2]  worker id
ARGV[3]  lease in milliseconds
ARGV[4]  incarnation: unique to the process
ARGV[5]  "boot" takes over the id, "beat" does not
ARGV[6]  maximum number of expired workers to return
ARGV[7]  digest of the schemas that the worker has stored; "" for none
then     fields and values for worker:<worker>
RETURNS  {1, or 0 if another process has taken over the id,
          number of jobs that this process held and that were returned while it seemed to be gone,
          milliseconds until the next lease of any worker expires,
          number of registered workers, which share the rate of events; 0 without a subscriber,
          1 if the worker's schemas are not stored, else 0,
          then the ids of workers whose lease has expired}
--]]
accept_oom(KEYS[1])
local workers, worker, heartbeat, crashed = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, id, lease_ms, incarnation = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

-- Half of the shortest lease allowed: a shorter silence extends no lease.
local MIN_SILENCE_MS = 500

-- How often a worker's lease is extended by others without a sign of life from itself.
local MAX_EXTENSIONS = 3

local function withdraw_crashes()
  local entries = call('LRANGE', crashed, 0, -1)
  for i = 1, #entries, 2 do
    call('LREM', prefix .. ':crashes:' .. entries[i], 1, entries[i + 1])
  end
  call('DEL', crashed)
  return #entries / 2
end

local function extend_leases(now_ms, silent_ms)
  local members = call('ZRANGE', workers, 0, -1, 'WITHSCORES')
  for i = 1, #members, 2 do
    local other = prefix .. ':worker:' .. members[i]
    local fields = call('HMGET', other, 'lease_ms', 'extensions')
    local other_lease_ms, extensions = tonumber(fields[1]) or lease_ms, tonumber(fields[2]) or 0
    local until_ms = now_ms + other_lease_ms
    if silent_ms > other_lease_ms / 2 and tonumber(members[i + 1]) < until_ms
      and extensions < MAX_EXTENSIONS then
      call('ZADD', workers, until_ms, members[i])
      call('HSET', other, 'extensions', extensions + 1)
      call('PEXPIRE', other, other_lease_ms * 100)
    end
  end
end

local current = call('HGET', worker, 'incarnation')
if ARGV[5] ~= 'boot' and current and current ~= incarnation then
  return { 0, withdraw_crashes(), lease_ms, 0, 0 }
end

local _, now_text = now()
local now_ms = tonumber(now_text)
local silent_ms = now_ms - (tonumber(call('GET', heartbeat)) or 0)
call('SET', heartbeat, now_text)
local is_added = call('ZADD', workers, now_ms + lease_ms, id) == 1
call('HSET', worker, 'incarnation', incarnation, 'seen_ms', now_text, 'lease_ms', lease_ms,
  'extensions', 0, 'schemas', ARGV[7], unpack(ARGV, 8))
-- A backstop only: reaping removes the key long before this.
call('PEXPIRE', worker, lease_ms * 100)
if is_added or current ~= incarnation then
  publish_worker(prefix, id, 'joined')
end
local schemas = prefix .. ':schemas:' .. ARGV[7]
local is_missing = ARGV[7] ~= '' and call('PEXPIRE', schemas, lease_ms * 100) == 0
if silent_ms > MIN_SILENCE_MS then
  extend_leases(now_ms, silent_ms)
end

local nearest = call('ZRANGEBYSCORE', workers, '(' .. now_text, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local sharing = is_subscribed(prefix) and call('ZCARD', workers) or 0
local replies = { 1, withdraw_crashes(), tonumber(nearest[2]) - now_ms, sharing,
  is_missing and 1 or 0 }
for _, other in ipairs(call('ZRANGEBYSCORE', workers, '-inf', now_text, 'LIMIT', 0, ARGV[6])) do
  replies[#replies + 1] = other
end
return replies
