--[[
Settle claims of jobs that will not be retried: move them to the dead list with their failure and a
final result. Claims that the worker has lost are skipped.

KEYS[1]  claims:<worker>
ARGV[1]  prefix
ARGV[2]  milliseconds to keep a dead job, its failure and its runs; 0 deletes them
ARGV[3]  milliseconds to keep its result; 0 stores no result
ARGV[4]  number of jobs
then seven per job: id, fence, body ("" always keeps the stored value, if any, unchanged and
         without expiry), failure as JSON, error, completed_at, duration_ms
then two per run to record, of the jobs above: id, run as JSON (see record_runs.lua)
RETURNS  one integer per job: 1 buried, 0 claim lost
--]]
accept_oom(KEYS[1])
local claims, prefix, keep_ms, result_ms = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local dead = prefix .. ':queue:dead'
local replies, settled, buried = {}, {}, 0
local first_run = 5 + 7 * tonumber(ARGV[4])

-- Unreadable jobs never expire. The search for expired entries at the end of the list skips up to
-- this many of them.
local SKIP_LIMIT = 30

for i = 5, first_run - 1, 7 do
  local id, fence, body = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if call('HGET', claims, id) == fence then
    local job, failure = prefix .. ':job:' .. id, prefix .. ':failure:' .. id
    local is_kept = true
    if body == '' and call('EXISTS', job) == 1 then
      call('PERSIST', job)
      call('SET', failure, ARGV[i + 3])
    elseif keep_ms == '0' then
      call('DEL', job, failure, prefix .. ':runs:' .. id)
      is_kept = false
    else
      if body ~= '' then
        call('SET', job, body, 'PX', keep_ms)
      end
      call('SET', failure, ARGV[i + 3], 'PX', keep_ms)
    end
    if result_ms ~= '0' then
      store_result(prefix, id, result_ms, 'result', 'status', 'failed', 'error', ARGV[i + 4],
        'completed_at', ARGV[i + 5], 'duration_ms', ARGV[i + 6])
    end
    if is_kept then
      call('LPUSH', dead, id)
    end
    call('HDEL', claims, id)
    settled[id] = true
    buried = buried + 1
    replies[#replies + 1] = 1
  else
    replies[#replies + 1] = 0
  end
end

record_runs(prefix, first_run, settled, keep_ms)

-- Remove the oldest entries whose job and failure have both expired: up to two per burial, so that
-- the list does not outgrow the jobs that are kept.
local removable = 2 * buried
local oldest = removable > 0 and call('LRANGE', dead, -removable - SKIP_LIMIT, -1) or {}
for i = #oldest, 1, -1 do
  local job, failure = prefix .. ':job:' .. oldest[i], prefix .. ':failure:' .. oldest[i]
  if removable > 0 and call('EXISTS', job, failure) == 0 then
    call('LREM', dead, -1, oldest[i])
    removable = removable - 1
  end
end

if buried > 0 then
  call('HINCRBY', prefix .. ':stats', 'failed', buried)
end
return replies
