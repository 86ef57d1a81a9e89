--[[
Settle claims of failed jobs that will be retried: put them into the schedule, due by Redis's clock.
Claims that the worker has lost are skipped.

KEYS[1]  claims:<worker>
ARGV[1]  prefix
ARGV[2]  milliseconds to keep the failure and the runs
ARGV[3]  number of jobs
then five per job: id, fence, body, failure as JSON, delay in milliseconds
then two per run to record, of the jobs above: id, run as JSON (see record_runs.lua)
RETURNS  one integer per job: 1 scheduled, 0 claim lost
--]]
accept_oom(KEYS[1])
local claims, prefix, keep_ms = KEYS[1], ARGV[1], ARGV[2]
local now_s = now()
local replies, settled, retried = {}, {}, 0
local first_run = 4 + 5 * tonumber(ARGV[3])

for i = 4, first_run - 1, 5 do
  local id, fence = ARGV[i], ARGV[i + 1]
  if call('HGET', claims, id) == fence then
    call('SET', prefix .. ':job:' .. id, ARGV[i + 2])
    call('SET', prefix .. ':failure:' .. id, ARGV[i + 3], 'PX', keep_ms)
    local due = string.format('%.6f', now_s + tonumber(ARGV[i + 4]) / 1000)
    call('ZADD', prefix .. ':queue:scheduled', due, id)
    call('HDEL', claims, id)
    settled[id] = true
    retried = retried + 1
    replies[#replies + 1] = 1
  else
    replies[#replies + 1] = 0
  end
end

record_runs(prefix, first_run, settled, keep_ms)
if retried > 0 then
  call('HINCRBY', prefix .. ':stats', 'retried', retried)
end
return replies
