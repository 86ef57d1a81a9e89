--[[
Shared by what takes jobs out of the dead (revive, purge).

lying(dead, from, to, chosen)  which of the `chosen` ids lie there: a set, and the places of all
                               found. `from` and `to` bound the look, counted from the end of the
                               list (-1 is the oldest, and burying moves none); "" looks everywhere
unearth(dead, places)          take those places out of the list
--]]
local TAKEN = '\0taken'

local function lying(dead, from, to, chosen)
  local found, places = {}, {}
  if from == '' then
    for id in pairs(chosen) do
      for _, place in ipairs(redis.call('LPOS', dead, id, 'COUNT', 0)) do
        found[id] = true
        places[#places + 1] = place
      end
    end
  else
    local ids = redis.call('LRANGE', dead, from, to)
    for i, id in ipairs(ids) do
      if chosen[id] then
        found[id] = true
        places[#places + 1] = tonumber(to) - (#ids - i)
      end
    end
  end
  return found, places
end

local function unearth(dead, places)
  for _, place in ipairs(places) do
    redis.call('LSET', dead, place, TAKEN)
  end
  if #places > 0 then
    -- From the end of the list: as much as was looked at, not all of it.
    redis.call('LREM', dead, -#places, TAKEN)
  end
end
