--[[
Shared by what takes jobs out of the dead (revive, purge).

lying(dead, from, to, chosen)  which of the `chosen` ids lie there: a set; the places of all found,
                               and the id in each. `from` and `to` bound the look, counted from the end of the
                               list (-1 is the oldest, and burying moves none); "" looks everywhere
unearth(dead, places, ids)     take the ids in those places out of the list
--]]
local TAKEN = '\0taken'

local function lying(dead, from, to, chosen)
  local found, places, there = {}, {}, {}
  if from == '' then
    for id in pairs(chosen) do
      for _, place in ipairs(call('LPOS', dead, id, 'COUNT', 0)) do
        found[id] = true
        places[#places + 1], there[#there + 1] = place, id
      end
    end
  else
    local ids = call('LRANGE', dead, from, to)
    for i, id in ipairs(ids) do
      if chosen[id] then
        found[id] = true
        places[#places + 1], there[#there + 1] = tonumber(to) - (#ids - i), id
      end
    end
  end
  return found, places, there
end

local function unearth(dead, places, ids)
  local marked = 0
  for n, place in ipairs(places) do
    if redis.pcall('LSET', dead, place, TAKEN).ok then
      marked = marked + 1
    else
      -- Refused where memory is short, when purging is what helps; then it takes a little longer.
      call('LREM', dead, -1, ids[n])
    end
  end
  if marked > 0 then
    -- From the end of the list: as much as was looked at, not all of it.
    call('LREM', dead, -marked, TAKEN)
  end
end
