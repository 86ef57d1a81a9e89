--[[
Shared by what gives claims back (release, recover).

latest_first(claims)             sort a list of {id, fence}: given back in this order, the claim
                                 that was made first is again the first in line
give_back(prefix, id, fence, rung)  return a job to the list it came from, to its right end: ahead
                                 of what waits there
--]]

-- When a claim was made: on the clock, then by number of the call, then by place in it.
local function latest_first(claims)
  for _, claim in ipairs(claims) do
    local call, place, at_ms = string.match(claim[2], '%.(%d+)%.(%d+)!?|.*|(%d+)$')
    claim[3], claim[4], claim[5] = tonumber(at_ms) or 0, tonumber(call) or 0, tonumber(place) or 0
  end
  table.sort(claims, function(a, b)
    for i = 3, 5 do
      if a[i] ~= b[i] then
        return a[i] > b[i]
      end
    end
    return a[1] > b[1]
  end)
end

-- Suspects that never came to run alone, or were stopped in it, stay suspects.
local function give_back(prefix, id, fence, rung)
  local alone, source = string.match(fence, '^[^|]-(!?)|(.*)|%d+$')
  local priority, job_type = string.match(source, '^(%a+):(.*)$')
  if alone == '!' then
    call('RPUSH', prefix .. ':queue:suspect:' .. source, id)
    call('SADD', prefix .. ':suspects', source)
    rung[priority] = true
  else
    call('RPUSH', prefix .. ':queue:' .. source, id)
    if priority then
      call('SADD', prefix .. ':parked:' .. priority, job_type)
    end
  end
  rung[source] = true
end
