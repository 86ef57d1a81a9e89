--[[
Put new jobs into their queues or into the schedule. A job whose id already exists is left unchanged,
which makes it safe to repeat a call with the same ids.

KEYS[1]  stats (any key of the prefix: it routes the script in a cluster)
ARGV[1]  prefix
then five per job: id, body, priority, job type,
         due: "" now | "+<ms>" from now by Redis's clock | "<Unix seconds>"
RETURNS  one integer per job: 1 enqueued, 0 its id already existed
--]]
local prefix = ARGV[1]
local replies, wakes, ready = {}, {}, {}

local function push(priority)
  call('LPUSH', prefix .. ':queue:' .. priority, unpack(ready[priority]))
  ready[priority] = nil
end

for i = 2, #ARGV, 5 do
  local id, priority, due = ARGV[i], ARGV[i + 2], ARGV[i + 4]
  local added = call('SET', prefix .. ':job:' .. id, ARGV[i + 1], 'NX')
  if added and due == '' then
    local ids = ready[priority] or {}
    ids[#ids + 1] = id
    ready[priority] = ids
    if #ids == 1000 then
      push(priority) -- unpacking many more would overflow Lua's stack
    end
    wakes[priority] = true
    wakes[priority .. ':' .. ARGV[i + 3]] = true
  elseif added then
    if string.sub(due, 1, 1) == '+' then
      due = string.format('%.6f', now() + tonumber(string.sub(due, 2)) / 1000)
    end
    call('ZADD', prefix .. ':queue:scheduled', due, id)
  end
  replies[#replies + 1] = added and 1 or 0
end

for priority in pairs(ready) do
  push(priority)
end
notify(prefix, wakes)
return replies
