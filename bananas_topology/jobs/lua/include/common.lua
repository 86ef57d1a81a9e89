--[[
Prepended to every script.

When memory is short, Redis rejects write commands for the whole run of a script. Each script
therefore issues a write command before it removes anything from where it was, so that it is
rejected as a whole or not at all.

now()                  Redis's clock: Unix seconds, and whole Unix milliseconds as text
notify(prefix, wakes)  wake one idle worker for each source in the set `wakes`; a source is a
                       priority or "<priority>:<job type>"
get_string(key)        the string stored under a key; false if it is missing or of another type,
                       which must not abort a script midway
call(...)              redis.call as a local, which is faster to look up
--]]
local call = redis.call

local function now()
  local time = call('TIME')
  local seconds, micros = tonumber(time[1]), tonumber(time[2])
  return seconds + micros / 1e6, string.format('%.0f', seconds * 1000 + math.floor(micros / 1000))
end

local function get_string(key)
  local value = redis.pcall('GET', key)
  return type(value) == 'string' and value
end

local function notify(prefix, wakes)
  for source in pairs(wakes) do
    local wake_key = prefix .. ':wake:' .. source
    if call('ZADD', wake_key, 0, '1') == 1 then
      -- Without a listener the key may expire: a worker looks for jobs before it starts to listen.
      call('EXPIRE', wake_key, 3600)
    end
  end
end
