--[[
Settle claims of completed jobs: in one step, store the body with its final status, store the
result and publish its notification. Claims that the worker has lost are skipped.

KEYS[1]  claims:<worker>
ARGV[1]  prefix
ARGV[2]  milliseconds to keep a completed job and its runs; 0 deletes them
ARGV[3]  milliseconds to keep its result; 0 stores no result
ARGV[4]  number of jobs
then six per job: id, fence, body, result as JSON, completed_at, duration_ms
then two per run to record, of the jobs above: id, run as JSON (see record_runs.lua)
RETURNS  one integer per job: 1 acked, 0 claim lost
--]]
accept_oom(KEYS[1])
local claims, prefix, keep_ms, result_ms = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local job_key = prefix .. ':job:'
local ids, acked, settled, replies = {}, {}, {}, {}
local first_run = 5 + 6 * tonumber(ARGV[4])
local has_runs = first_run <= #ARGV
for i = 5, first_run - 1, 6 do
  ids[#ids + 1] = ARGV[i]
end

local fences = call('HMGET', claims, unpack(ids))
for n, id in ipairs(ids) do
  local i = 6 * n - 1
  if fences[n] == ARGV[i + 1] then
    if keep_ms == '0' then
      call('DEL', job_key .. id, prefix .. ':failure:' .. id, prefix .. ':runs:' .. id)
    else
      call('SET', job_key .. id, ARGV[i + 2], 'PX', keep_ms)
    end
    if result_ms ~= '0' then
      store_result(prefix, id, result_ms, 'error', 'status', 'completed', 'result', ARGV[i + 3],
        'completed_at', ARGV[i + 4], 'duration_ms', ARGV[i + 5])
    end
    acked[#acked + 1] = id
    if has_runs then
      settled[id] = true
    end
    replies[n] = 1
  else
    replies[n] = 0
  end
end

record_runs(prefix, first_run, settled, keep_ms)
if #acked > 0 then
  call('HDEL', claims, unpack(acked))
  call('HINCRBY', prefix .. ':stats', 'completed', #acked)
end
return replies
