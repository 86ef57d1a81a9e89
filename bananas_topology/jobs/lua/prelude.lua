--[[
What the scripts have in common; stands before each of them.

Where memory is short, the server refuses the commands that take some, from a script's beginning to
its end. So each script does one of those before it takes anything from where it was: it is refused
as a whole, or not at all.

now()               Redis's clock: Unix seconds, and whole Unix milliseconds as text
ring(prefix, rung)  wake one idle worker for each source in the set `rung`; a source is a priority,
                    or "<priority>:<job type>"
stored(key)         the string under a key; false where there is none, or something else: that must
                    not stop a script midway
call(...)           redis.call, found quicker
--]]
local call = redis.call

local function now()
  local time = call('TIME')
  local seconds, micros = tonumber(time[1]), tonumber(time[2])
  return seconds + micros / 1e6, string.format('%.0f', seconds * 1000 + math.floor(micros / 1000))
end

local function stored(key)
  local value = redis.pcall('GET', key)
  return type(value) == 'string' and value
end

local function ring(prefix, rung)
  for source in pairs(rung) do
    local bell = prefix .. ':wake:' .. source
    if call('ZADD', bell, 0, '1') == 1 then
      -- Where nobody listens it need not stay: whoever comes to listen has looked before.
      call('EXPIRE', bell, 3600)
    end
  end
end
