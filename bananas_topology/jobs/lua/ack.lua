--[[
Settle claims whose jobs are done: the body with its final status, the result and its
notification, in one step. A claim that is no longer the worker's is left alone.

KEYS[1]  claims:<worker>
ARGV[1]  prefix
ARGV[2]  seconds to keep a completed job
ARGV[3]  milliseconds to keep its result; 0 stores none
then six a job: id, fence, body, result as JSON, completed_at, duration_ms
RETURNS  one integer a job: 1 acked, 0 the claim was lost
--]]
local claims, prefix, keep_s, result_ms = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local replies, acked = {}, 0

for i = 4, #ARGV, 6 do
  local id, fence = ARGV[i], ARGV[i + 1]
  if redis.call('HGET', claims, id) == fence then
    redis.call('HDEL', claims, id)
    redis.call('SET', prefix .. ':job:' .. id, ARGV[i + 2], 'EX', keep_s)
    if result_ms > 0 then
      local result = prefix .. ':result:' .. id
      redis.call('HSET', result, 'status', 'completed', 'result', ARGV[i + 3],
        'completed_at', ARGV[i + 4], 'duration_ms', ARGV[i + 5])
      redis.call('PEXPIRE', result, result_ms)
      redis.call('PUBLISH', prefix .. ':result:notify:' .. id, 'ready')
    end
    acked = acked + 1
    replies[#replies + 1] = 1
  else
    replies[#replies + 1] = 0
  end
end

if acked > 0 then
  redis.call('HINCRBY', prefix .. ':stats', 'completed', acked)
end
return replies
