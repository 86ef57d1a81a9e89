--[[
Settle claims of jobs that did not run to an end: return them unchanged to the head of the lists they
were claimed from, in the order in which they were claimed. No attempt is counted. Claims that the
worker has lost are skipped.

KEYS[1]  claims:<worker>
ARGV[1]  prefix
then two per job: id, fence
RETURNS  one integer per job: 1 released, 0 claim lost
--]]
accept_oom(KEYS[1])
local claims, prefix = KEYS[1], ARGV[1]
local replies, owned, wakes = {}, {}, {}

for i = 2, #ARGV, 2 do
  local id, fence = ARGV[i], ARGV[i + 1]
  local is_owned = call('HGET', claims, id) == fence
  if is_owned then
    owned[#owned + 1] = { id, fence }
  end
  replies[#replies + 1] = is_owned and 1 or 0
end

sort_latest_first(owned)
for _, claim in ipairs(owned) do
  requeue(prefix, claim[1], claim[2], wakes)
  call('HDEL', claims, claim[1])
end
notify(prefix, wakes)
return replies
