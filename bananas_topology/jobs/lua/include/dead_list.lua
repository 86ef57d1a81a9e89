--[[
Included by scripts that remove jobs from the dead list (retry_dead, purge_dead).

find_dead(dead, from, to, wanted)  which of the `wanted` ids are in the list: a set; and the positions
                                   of all matches. `from` and `to` limit the search, counted from the
                                   end of the list (-1 is the oldest; burying does not move these
                                   positions); "" searches the whole list
remove_dead(dead, positions)       remove the entries at these positions from the list
--]]
local REMOVED = '\0taken'

local function find_dead(dead, from, to, wanted)
  local found, positions = {}, {}
  if from == '' then
    for id in pairs(wanted) do
      for _, position in ipairs(call('LPOS', dead, id, 'COUNT', 0)) do
        found[id] = true
        positions[#positions + 1] = position
      end
    end
  else
    local ids = call('LRANGE', dead, from, to)
    for i, id in ipairs(ids) do
      if wanted[id] then
        found[id] = true
        positions[#positions + 1] = tonumber(to) - (#ids - i)
      end
    end
  end
  return found, positions
end

local function remove_dead(dead, positions)
  for _, position in ipairs(positions) do
    call('LSET', dead, position, REMOVED)
  end
  if #positions > 0 then
    -- Searched from the end of the list: covers the range that was read, not the whole list.
    call('LREM', dead, -#positions, REMOVED)
  end
end
