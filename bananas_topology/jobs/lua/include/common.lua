--[[
Prepended to every script.

When the server is out of memory (maxmemory), it rejects commands that need more of it until a script
has issued its first write command, whatever that is; so a script is rejected as a whole or not at
all. Scripts that bring in new jobs are to be rejected. All others call accept_oom first: otherwise
no worker could claim, settle or expire what fills the memory. (The flag allow-oom does the same, but
is unknown to Redis 6.2.)

accept_oom(key)        let the script run when the server is out of memory; `key` is any key that
                       never expires
now()                  Redis's clock: Unix seconds, and whole Unix milliseconds as text
notify(prefix, wakes)  wake one idle worker for each source in the set `wakes`; a source is a
                       priority or "<priority>:<job type>". Returns whether a notification was
                       added: false if earlier ones still wait for a worker
get_string(key)        the string stored under a key; false if it is missing or of another type,
                       which must not abort a script midway
call(...)              redis.call as a local, which is faster to look up
--]]
local call = redis.call

local function accept_oom(key)
  call('PERSIST', key) -- a write command that is never rejected, and changes nothing
end

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
  local is_added = false
  for source in pairs(wakes) do
    local wake_key = prefix .. ':wake:' .. source
    if call('ZADD', wake_key, 0, '1') == 1 then
      is_added = true
      -- Without a listener the key may expire: a worker looks for jobs before it starts to listen.
      call('EXPIRE', wake_key, 3600)
    end
  end
  return is_added
end
