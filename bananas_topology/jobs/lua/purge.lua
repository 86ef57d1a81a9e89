--[[
Forget dead jobs and all that is kept of them. A job that is no longer dead is left alone.

KEYS[1]  queue:dead
ARGV[1]  prefix
ARGV[2]  where to look for them, from
ARGV[3]  and to (see exhuming.lua)
then two a job: id, what to forget beside its place: "all", "rest" (all but the body: there was none
         when the caller looked, so one that is there now is of a new job) or "" (it lives again)
RETURNS  {number of jobs purged, number of places that were theirs}
--]]
local dead, prefix = KEYS[1], ARGV[1]
local chosen, purged = {}, 0
for i = 4, #ARGV, 2 do
  chosen[ARGV[i]] = ARGV[i + 1]
end

local found, places, ids = lying(dead, ARGV[2], ARGV[3], chosen)
for id in pairs(found) do
  if chosen[id] ~= '' then
    call('DEL', prefix .. ':failure:' .. id, prefix .. ':result:' .. id, prefix .. ':crashes:' .. id)
  end
  if chosen[id] == 'all' then
    call('DEL', prefix .. ':job:' .. id)
  end
  purged = purged + 1
end
unearth(dead, places, ids)
return { purged, #places }
