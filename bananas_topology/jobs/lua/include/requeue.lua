--[[
Included by scripts that return claimed jobs to their queues (release, recover).

sort_latest_first(claims)         sort a list of {id, fence}: requeued in this order, the job that
                                  was claimed first is first in line again
parse_fence(fence)                what a claim was of; for any text
requeue(prefix, id, fence, wakes) return a job to the head (right end) of the list it was claimed
                                  from, and add its source to `wakes`
--]]

-- Order of claims: by the clock, then by the number of the call, then by the place within it.
local function sort_latest_first(claims)
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

local PRIORITIES = { high = true, normal = true, low = true }

-- Whether the job was to run alone ("!"), the source that it was claimed from, and when. A fence that
-- claim.lua has not written, which must not keep other claims from being returned, leads to "normal".
local function parse_fence(fence)
  local alone, source, claimed_ms = string.match(fence, '^[^|]-(!?)|(.*)|(%d+)$')
  if source and PRIORITIES[string.match(source .. ':', '^(%a+):')] then
    return alone, source, claimed_ms
  end
  return '', 'normal', '0'
end

-- A suspect that was stopped while running alone, or never started, remains a suspect.
local function requeue(prefix, id, fence, wakes)
  local alone, source = parse_fence(fence)
  local priority, job_type = string.match(source, '^(%a+):(.*)$')
  if alone == '!' then
    call('RPUSH', prefix .. ':queue:suspect:' .. source, id)
    call('SADD', prefix .. ':suspects', source)
    wakes[priority] = true
  else
    call('RPUSH', prefix .. ':queue:' .. source, id)
    if priority then
      call('SADD', prefix .. ':parked:' .. priority, job_type)
    end
  end
  wakes[source] = true
end
