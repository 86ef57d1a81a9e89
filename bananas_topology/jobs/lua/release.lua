--[[
Give claims back untouched, to where they came from and ahead of what waits there: no attempt is
counted. A claim that is no longer the worker's is left alone.

KEYS[1]  claims:<worker>
ARGV[1]  prefix
then two a job: id, fence
RETURNS  one integer a job: 1 released, 0 the claim was lost
--]]
local claims, prefix = KEYS[1], ARGV[1]
local replies, rung = {}, {}

for i = 2, #ARGV, 2 do
  local id, fence = ARGV[i], ARGV[i + 1]
  if redis.call('HGET', claims, id) == fence then
    redis.call('HDEL', claims, id)
    give_back(prefix, id, fence, rung)
    replies[#replies + 1] = 1
  else
    replies[#replies + 1] = 0
  end
end

ring(prefix, rung)
return replies
