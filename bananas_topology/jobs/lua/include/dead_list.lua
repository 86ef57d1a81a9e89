--[[
Included by scripts that remove jobs from the dead list (retry_dead, purge_dead).

find_dead(dead, from, to, wanted)  which of the `wanted` ids are in the list: a set; the positions of
                                   all matches, and the id at each. `from` and `to` limit the search,
                                   counted from the end of the list (-1 is the oldest; burying does
                                   not move these positions); "" searches the whole list
remove_dead(dead, positions, ids)  remove the ids at these positions from the list
--]]
local REMOVED = '\0taken'

local function find_dead(dead, from, to, wanted)
  local found, positions, matches = {}, {}, {}
  if from == '' then
    for id in pairs(wanted) do
      for _, position in ipairs(call('LPOS', dead, id, 'COUNT', 0)) do
        found[id] = true
        positions[#positions + 1], matches[#matches + 1] = position, id
      end
    end
  else
    local ids = call('LRANGE', dead, from, to)
    for i, id in ipairs(ids) do
      if wanted[id] then
        found[id] = true
        positions[#positions + 1], matches[#matches + 1] = tonumber(to) - (#ids - i), id
      end
    end
  end
  return found, positions, matches
end

local function remove_dead(dead, positions, ids)
  local marked = 0
  for n, position in ipairs(positions) do
    if redis.pcall('LSET', dead, position, REMOVED).ok then
      marked = marked + 1
    else
      -- LSET is rejected when memory is short, which is when purging matters most; LREM is slower
      -- but allowed.
      call('LREM', dead, -1, ids[n])
    end
  end
  if marked > 0 then
    -- Searched from the end of the list: covers the range that was read, not the whole list.
    call('LREM', dead, -marked, REMOVED)
  end
end
