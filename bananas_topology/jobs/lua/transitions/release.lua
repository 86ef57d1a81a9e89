--[[
Settle claims of jobs that did not run to an end: return them unchanged to the head of the lists they
were claimed from, in the order in which they were claimed. No attempt is counted. Claims that the
worker has lost are skipped.

KEYS[1]  claims:<worker>
ARGV[1]  prefix
ARGV[2]  milliseconds to keep the runs
ARGV[3]  number of jobs
then two per job: id, fence
then two per run to record, of the jobs above: id, run as JSON (see record_runs.lua)
RETURNS  one integer per job: 1 released, 0 claim lost
--]]
accept_oom(KEYS[1])
local claims, prefix = KEYS[1], ARGV[1]
local replies, owned, wakes, settled = {}, {}, {}, {}
local first_run = 4 + 2 * tonumber(ARGV[3])

for i = 4, first_run - 1, 2 do
  local id, fence = ARGV[i], ARGV[i + 1]
  local is_owned = call('HGET', claims, id) == fence
  if is_owned then
    owned[#owned + 1] = { id, fence }
    settled[id] = true
  end
  replies[#replies + 1] = is_owned and 1 or 0
end

sort_latest_first(owned)
for _, claim in ipairs(owned) do
  requeue(prefix, claim[1], claim[2], wakes)
  call('HDEL', claims, claim[1])
end
record_runs(prefix, first_run, settled, ARGV[2])
notify(prefix, wakes)
return replies
