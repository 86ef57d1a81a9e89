--[[
Take jobs out of queue:processing, where a worker of another implementation left them when it died:
back to their queues, ahead of what waits there, or out of the list if there is nothing left to run.

A job whose stored body has changed since the caller read it, whose id a worker has removed from the
list meanwhile, or that one of our workers holds is left alone: somebody works on it.

KEYS[1]  queue:processing
ARGV[1]  prefix
then six per job: id, SHA-1 of its body as the caller read it, action ("requeue", "bury" or
         "remove"), the body to store on requeue, priority, job type
RETURNS  one integer per job: 1 done, 0 left alone
--]]
accept_oom(KEYS[1])
local processing, prefix = KEYS[1], ARGV[1]
local scheduled, dead = prefix .. ':queue:scheduled', prefix .. ':queue:dead'
local ids, held, wakes, replies = {}, {}, {}, {}
for i = 2, #ARGV, 6 do
  ids[#ids + 1] = ARGV[i]
end

for _, worker in ipairs(call('ZRANGE', prefix .. ':workers', 0, -1)) do
  for n, fence in ipairs(call('HMGET', prefix .. ':claims:' .. worker, unpack(ids))) do
    held[ids[n]] = held[ids[n]] or fence
  end
end

local function is_unchanged(id, digest)
  local body = get_string(prefix .. ':job:' .. id) or ''
  return redis.sha1hex(body) == digest and not held[id] and call('LPOS', processing, id)
end

local function requeue(id, body, priority, job_type)
  call('SET', prefix .. ':job:' .. id, body)
  call('RPUSH', prefix .. ':queue:' .. priority, id)
  wakes[priority] = true
  wakes[priority .. ':' .. job_type] = true
end

for i = 2, #ARGV, 6 do
  local id, action = ARGV[i], ARGV[i + 2]
  if is_unchanged(id, ARGV[i + 1]) then
    if action == 'requeue' and not call('ZSCORE', scheduled, id) then
      requeue(id, ARGV[i + 3], ARGV[i + 4], ARGV[i + 5])
    elseif action == 'bury' and not call('LPOS', dead, id) then
      call('LPUSH', dead, id)
    end
    call('LREM', processing, 0, id)
    replies[#replies + 1] = 1
  else
    replies[#replies + 1] = 0
  end
end
notify(prefix, wakes)
return replies
