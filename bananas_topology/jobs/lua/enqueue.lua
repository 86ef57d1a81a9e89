--[[
Put new jobs into their queues, or into the schedule; a job whose id is already there is left as
it is, which makes enqueueing with an id of one's own safe to repeat.

KEYS[1]  stats (any key of the prefix: it routes the script in a cluster)
ARGV[1]  prefix
then five a job: id, body, priority, job type,
         due: "" now | "+<ms>" so long from now on Redis's clock | "<Unix seconds>"
RETURNS  one integer a job: 1 enqueued, 0 its id was taken
--]]
local prefix = ARGV[1]
local replies, rung, ready = {}, {}, {}

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
      push(priority) -- more would not fit on Lua's stack
    end
    rung[priority] = true
    rung[priority .. ':' .. ARGV[i + 3]] = true
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
ring(prefix, rung)
return replies
