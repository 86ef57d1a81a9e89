--[[
Delete dead jobs and everything stored about them. A job that is no longer dead is left alone.

KEYS[1]  queue:dead
ARGV[1]  prefix
ARGV[2]  start of the range of the list to search
ARGV[3]  end of that range (see dead_list.lua)
then two per job: id, what to delete besides its list entry: "all"; "rest", all but the body (there
         was none when the caller looked, so one that exists now belongs to a new job); or "", no
         more (a new job has the id)
RETURNS  {number of jobs deleted, number of list entries removed}
--]]
accept_oom(KEYS[1])
local dead, prefix = KEYS[1], ARGV[1]
local scope, purged = {}, 0
for i = 4, #ARGV, 2 do
  scope[ARGV[i]] = ARGV[i + 1]
end

local found, positions = find_dead(dead, ARGV[2], ARGV[3], scope)
for id in pairs(found) do
  if scope[id] ~= '' then
    delete_outcomes(prefix, id)
  end
  if scope[id] == 'all' then
    call('DEL', prefix .. ':job:' .. id)
  end
  purged = purged + 1
end
remove_dead(dead, positions)
return { purged, #positions }
