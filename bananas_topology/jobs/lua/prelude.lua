--[[
What the scripts have in common; stands before each of them.

Where memory is short, the server refuses the commands that take some, from a script's beginning to
its end. So each script does one of those before it takes anything from where it was: it is refused
as a whole, or not at all.

now()               Redis's clock: Unix seconds, and whole Unix milliseconds as text
ring(prefix, rung)  wake one idle worker for each source in the set `rung`; a source is a priority,
                    or "<priority>:<job type>"
call(...)           redis.call, found quicker
--]]
local call = redis.call

local function now()
  local time = call('TIME')
  local seconds, micros = tonumber(time[1]), tonumber(time[2])
  return seconds + micros / 1e6, string.format('%.0f', seconds * 1000 + math.floor(micros / 1000))
end

local function ring(prefix, rung)
  for source in pairs(rung) do
    call('ZADD', prefix .. ':wake:' .. source, 0, '1')
  end
end
