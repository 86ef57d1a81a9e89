--[[
Return claims that nobody works on to where they came from, ahead of what waits there: those of a
worker whose lease ran out, of the process that a reborn worker was, or claims whose reply was
lost on its way.

KEYS[1]  claims:<worker> of the worker that held them
ARGV[1]  prefix
ARGV[2]  that worker's id
ARGV[3]  "expired": only if its lease has run out, and then forget the worker | "own": the caller is
         that worker
ARGV[4]  jobs to return at the most (the bound of this script's run time)
then     ids that the caller does work on, to be left
RETURNS  number of jobs returned
--]]
local claims, prefix, worker, whose, left = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local workers = prefix .. ':workers'

if whose == 'expired' then
  local _, now_ms = now()
  local until_ms = redis.call('ZSCORE', workers, worker)
  if until_ms and tonumber(until_ms) > now_ms then
    return 0
  end
end

local known = {}
for i = 5, #ARGV do
  known[ARGV[i]] = true
end

local entries, returned, rung = redis.call('HGETALL', claims), 0, {}
for i = 1, #entries, 2 do
  local id, fence = entries[i], entries[i + 1]
  if returned < left and not known[id] then
    redis.call('HDEL', claims, id)
    give_back(prefix, id, fence, rung)
    returned = returned + 1
  end
end

if whose == 'expired' and redis.call('EXISTS', claims) == 0 then
  redis.call('ZREM', workers, worker)
  redis.call('DEL', prefix .. ':worker:' .. worker)
end
ring(prefix, rung)
return returned
