--[[
Settle claims whose jobs shall never run again: to the dead, with the failure and a final result.
A claim that is no longer the worker's is left alone.

KEYS[1]  claims:<worker>
ARGV[1]  prefix
ARGV[2]  seconds to keep a dead job and its failure
ARGV[3]  milliseconds to keep its result; 0 stores none
then seven a job: id, fence, body ("" leaves what is stored, if anything, untouched and without
         expiry), failure as JSON, error, completed_at, duration_ms
RETURNS  one integer a job: 1 buried, 0 the claim was lost
--]]
local claims, prefix, keep_s, result_ms = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local dead = prefix .. ':queue:dead'
local replies, buried = {}, 0

-- What is set aside is kept without end: so many of them are passed over in the search for those of
-- which nothing is kept any more.
local KEPT = 30

for i = 4, #ARGV, 7 do
  local id, fence, body = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if call('HGET', claims, id) == fence then
    call('LPUSH', dead, id)
    local job, failure = prefix .. ':job:' .. id, prefix .. ':failure:' .. id
    if body == '' and call('EXISTS', job) == 1 then
      call('PERSIST', job)
      call('SET', failure, ARGV[i + 3])
    else
      if body ~= '' then
        call('SET', job, body, 'EX', keep_s)
      end
      call('SET', failure, ARGV[i + 3], 'EX', keep_s)
    end
    if result_ms ~= '0' then
      conclude(prefix, id, result_ms, 'result', 'status', 'failed', 'error', ARGV[i + 4],
        'completed_at', ARGV[i + 5], 'duration_ms', ARGV[i + 6])
    end
    call('HDEL', claims, id)
    buried = buried + 1
    replies[#replies + 1] = 1
  else
    replies[#replies + 1] = 0
  end
end

-- The oldest of the dead of which nothing is kept any more: two a burial, so the list cannot grow
-- beyond what is kept.
local forgettable = 2 * buried
local oldest = forgettable > 0 and call('LRANGE', dead, -forgettable - KEPT, -1) or {}
for i = #oldest, 1, -1 do
  local job, failure = prefix .. ':job:' .. oldest[i], prefix .. ':failure:' .. oldest[i]
  if forgettable > 0 and call('EXISTS', job, failure) == 0 then
    call('LREM', dead, -1, oldest[i])
    forgettable = forgettable - 1
  end
end

if buried > 0 then
  call('HINCRBY', prefix .. ':stats', 'failed', buried)
end
return replies
