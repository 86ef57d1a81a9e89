--[[
What the scripts have in common; stands before each of them.

now()                            Redis's clock: Unix seconds, and whole Unix milliseconds
give_back(prefix, id, fence, rung)  return a claimed job to the list it came from, to its right end:
                                 ahead of what waits there
ring(prefix, rung)               wake one idle worker for each source in the set `rung`; a source is
                                 a priority, or "<priority>:<job type>"
--]]
local function now()
  local time = redis.call('TIME')
  local seconds, micros = tonumber(time[1]), tonumber(time[2])
  return seconds + micros / 1e6, seconds * 1000 + math.floor(micros / 1000)
end

local function give_back(prefix, id, fence, rung)
  local source = string.match(fence, '^[^|]*|(.*)|%d+$')
  redis.call('RPUSH', prefix .. ':queue:' .. source, id)
  local priority, job_type = string.match(source, '^(%a+):(.*)$')
  if priority then
    redis.call('SADD', prefix .. ':parked:' .. priority, job_type)
  end
  rung[source] = true
end

local function ring(prefix, rung)
  for source in pairs(rung) do
    redis.call('ZADD', prefix .. ':wake:' .. source, 0, '1')
  end
end
