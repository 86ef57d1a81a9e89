--[[
Forget dead jobs and all that is kept of them. A job that is no longer dead is left alone.

KEYS[1]  queue:dead
ARGV[1]  prefix
ARGV[2]  where to look for them, from
ARGV[3]  and to (see exhuming.lua)
then     ids
RETURNS  number of jobs purged
--]]
local dead, prefix = KEYS[1], ARGV[1]
local chosen, purged = {}, 0
for i = 4, #ARGV do
  chosen[ARGV[i]] = true
end

local found, places, ids = lying(dead, ARGV[2], ARGV[3], chosen)
for id in pairs(found) do
  call('DEL', prefix .. ':job:' .. id, prefix .. ':failure:' .. id, prefix .. ':result:' .. id,
    prefix .. ':crashes:' .. id)
  purged = purged + 1
end
unearth(dead, places, ids)
return purged
