--[[
Settle claims whose jobs are to run again later: into the schedule, due on Redis's clock.
A claim that is no longer the worker's is left alone.

KEYS[1]  claims:<worker>
ARGV[1]  prefix
ARGV[2]  seconds to keep the failure
then five a job: id, fence, body, failure as JSON, delay in milliseconds
RETURNS  one integer a job: 1 scheduled again, 0 the claim was lost
--]]
local claims, prefix, keep_s = KEYS[1], ARGV[1], ARGV[2]
local now_s = now()
local replies, retried = {}, 0

for i = 3, #ARGV, 5 do
  local id, fence = ARGV[i], ARGV[i + 1]
  if call('HGET', claims, id) == fence then
    call('SET', prefix .. ':job:' .. id, ARGV[i + 2])
    call('SET', prefix .. ':failure:' .. id, ARGV[i + 3], 'EX', keep_s)
    local due = string.format('%.6f', now_s + tonumber(ARGV[i + 4]) / 1000)
    call('ZADD', prefix .. ':queue:scheduled', due, id)
    call('HDEL', claims, id)
    retried = retried + 1
    replies[#replies + 1] = 1
  else
    replies[#replies + 1] = 0
  end
end

if retried > 0 then
  call('HINCRBY', prefix .. ':stats', 'retried', retried)
end
return replies
