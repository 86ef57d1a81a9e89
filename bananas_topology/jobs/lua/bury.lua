--[[
Settle claims whose jobs shall never run again: to the dead, with the failure and a final result.
A claim that is no longer the worker's is left alone.

KEYS[1]  claims:<worker>
ARGV[1]  prefix
ARGV[2]  seconds to keep a dead job and its failure
ARGV[3]  milliseconds to keep its result; 0 stores none
then seven a job: id, fence, body ("" leaves the stored bytes, whatever they are, untouched and
         without expiry), failure as JSON, error, completed_at, duration_ms
RETURNS  one integer a job: 1 buried, 0 the claim was lost
--]]
local claims, prefix, keep_s, result_ms = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local dead = prefix .. ':queue:dead'
local replies, buried = {}, 0

for i = 4, #ARGV, 7 do
  local id, fence, body = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if call('HGET', claims, id) == fence then
    call('LPUSH', dead, id)
    if body == '' then
      call('SET', prefix .. ':failure:' .. id, ARGV[i + 3])
    else
      call('SET', prefix .. ':job:' .. id, body, 'EX', keep_s)
      call('SET', prefix .. ':failure:' .. id, ARGV[i + 3], 'EX', keep_s)
    end
    if result_ms ~= '0' then
      local result = prefix .. ':result:' .. id
      local added = call('HSET', result, 'status', 'failed', 'error', ARGV[i + 4],
        'completed_at', ARGV[i + 5], 'duration_ms', ARGV[i + 6])
      if added < 4 then
        call('HDEL', result, 'result') -- of a run before that somebody had repeated
      end
      call('PEXPIRE', result, result_ms)
      call('PUBLISH', prefix .. ':result:notify:' .. id, 'ready')
    end
    call('HDEL', claims, id)
    buried = buried + 1
    replies[#replies + 1] = 1
  else
    replies[#replies + 1] = 0
  end
end

-- The oldest of the dead of which nothing is kept any more: two a burial, so the list cannot grow
-- beyond what is kept.
for _ = 1, 2 * buried do
  local oldest = call('LINDEX', dead, -1)
  if not oldest
    or call('EXISTS', prefix .. ':job:' .. oldest, prefix .. ':failure:' .. oldest) > 0 then
    break
  end
  call('RPOP', dead)
end

if buried > 0 then
  call('HINCRBY', prefix .. ':stats', 'failed', buried)
end
return replies
