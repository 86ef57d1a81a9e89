--[[
Which definition of a schedule counts. While a deployment is rolled out, or back, schedulers have
different definitions under the same name; each keeps its own seen in the schedule's hash:

  seen:<definition>  "<first> <since> <last>": when it was first seen, since when without a gap, and
                     when last, in Unix milliseconds on Redis's clock
  handled            until when all occurrences have been dealt with, whatever the definition

The newest, that is the one first seen latest, counts as long as it is seen. An older one takes over
when it has been there for SEEN_MS itself without a newer one: not after an outage that kept both away.
Schedulers look every 5 s, so that nothing is late by more than they tolerate (scheduler.py).
--]]
local SEEN_MS, GAP_MS, REFRESH_MS, KEEP_MS = 30000, 15000, 2500, 7 * 86400000

-- Every definition that was seen: id to { first, since, last }.
local function read_definitions(schedule)
  local seen, fields = {}, call('HGETALL', schedule)
  for i = 1, #fields, 2 do
    local id = string.match(fields[i], '^seen:(.*)$')
    local first, since, last = string.match(fields[i + 1], '^(%-?%d+) (%d+) (%d+)$')
    if id and first then
      seen[id] = { tonumber(first), tonumber(since), tonumber(last) }
    end
  end
  return seen
end

-- Whether a definition counts now.
local function is_current(seen, id, now_ms)
  local own = seen[id]
  if not own then
    return false
  end
  local is_newest = true
  for _, other in pairs(seen) do
    if other[1] > own[1] then
      is_newest = false
      if now_ms - other[3] < SEEN_MS then
        return false
      end
    end
  end
  return is_newest or now_ms - own[2] >= SEEN_MS
end
