--[[
Let dead jobs run again, as if they never had: what is kept of their failures goes. A job that is
no longer dead is left alone.

KEYS[1]  queue:dead
ARGV[1]  prefix
ARGV[2]  where to look for them, from
ARGV[3]  and to (see exhuming.lua)
then four a job: id, body, priority, job type
RETURNS  {number of jobs revived, number of places that were theirs}
--]]
local dead, prefix = KEYS[1], ARGV[1]
local chosen, rung, revived = {}, {}, 0
for i = 4, #ARGV, 4 do
  chosen[ARGV[i]] = true
end

local found, places, ids = lying(dead, ARGV[2], ARGV[3], chosen)
for i = 4, #ARGV, 4 do
  local id, priority, job_type = ARGV[i], ARGV[i + 2], ARGV[i + 3]
  if found[id] then
    found[id] = nil -- where it lies twice, it is one job
    call('SET', prefix .. ':job:' .. id, ARGV[i + 1])
    call('DEL', prefix .. ':failure:' .. id, prefix .. ':result:' .. id,
      prefix .. ':crashes:' .. id)
    call('LPUSH', prefix .. ':queue:' .. priority, id)
    rung[priority] = true
    rung[priority .. ':' .. job_type] = true
    revived = revived + 1
  end
end
unearth(dead, places, ids)
ring(prefix, rung)
return { revived, #places }
