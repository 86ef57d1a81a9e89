--[[
Give claims back untouched, to where they came from and ahead of what waits there, in the order in
which they were claimed: no attempt is counted. A claim that is no longer the worker's is left
alone.

KEYS[1]  claims:<worker>
ARGV[1]  prefix
then two a job: id, fence
RETURNS  one integer a job: 1 released, 0 the claim was lost
--]]
local claims, prefix = KEYS[1], ARGV[1]
local replies, ours, rung = {}, {}, {}

for i = 2, #ARGV, 2 do
  local id, fence = ARGV[i], ARGV[i + 1]
  local is_ours = call('HGET', claims, id) == fence
  if is_ours then
    ours[#ours + 1] = { id, fence }
  end
  replies[#replies + 1] = is_ours and 1 or 0
end

latest_first(ours)
for _, claim in ipairs(ours) do
  give_back(prefix, claim[1], claim[2], rung)
  call('HDEL', claims, claim[1])
end
ring(prefix, rung)
return replies
