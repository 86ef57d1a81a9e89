--[[
Settle claims of completed jobs: in one step, store the body with its final status, store the
result and publish its notification. Claims that the worker has lost are skipped.

KEYS[1]  claims:<worker>
ARGV[1]  prefix
ARGV[2]  milliseconds to keep a completed job; 0 deletes it
ARGV[3]  milliseconds to keep its result; 0 stores no result
then six per job: id, fence, body, result as JSON, completed_at, duration_ms
RETURNS  one integer per job: 1 acked, 0 claim lost
--]]
accept_oom(KEYS[1])
local claims, prefix, keep_ms, result_ms = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local job_key = prefix .. ':job:'
local ids, acked, replies = {}, {}, {}
for i = 4, #ARGV, 6 do
  ids[#ids + 1] = ARGV[i]
end

local fences = call('HMGET', claims, unpack(ids))
for n, id in ipairs(ids) do
  local i = 6 * n - 2
  if fences[n] == ARGV[i + 1] then
    if keep_ms == '0' then
      call('DEL', job_key .. id, prefix .. ':failure:' .. id)
    else
      call('SET', job_key .. id, ARGV[i + 2], 'PX', keep_ms)
    end
    if result_ms ~= '0' then
      store_result(prefix, id, result_ms, 'error', 'status', 'completed', 'result', ARGV[i + 3],
        'completed_at', ARGV[i + 4], 'duration_ms', ARGV[i + 5])
    end
    acked[#acked + 1] = id
    replies[n] = 1
  else
    replies[n] = 0
  end
end

if #acked > 0 then
  call('HDEL', claims, unpack(acked))
  call('HINCRBY', prefix .. ':stats', 'completed', #acked)
end
return replies
