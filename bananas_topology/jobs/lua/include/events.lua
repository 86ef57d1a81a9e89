--[[
Included by scripts that publish events for the subscribers of the API (jobs/events.py). Without a
subscriber, nothing is published. None of these functions fails its script: the server may deny
streams to this user, which must not keep a worker from working.

is_subscribed(prefix)        whether there is a subscriber
publish(prefix, kind, data)  append an event; `data` is a JSON object
publish_worker(prefix, worker, change)
                             if there is a subscriber, append that a worker has "joined" or "left";
                             worker:<worker> must exist
--]]
local MAX_EVENTS, KEEP_EVENTS_MS = 1000, 120000

local function is_subscribed(prefix)
  return redis.pcall('EXISTS', prefix .. ':subscribed') == 1
end

local function publish(prefix, kind, data)
  local events = prefix .. ':events'
  redis.pcall('XADD', events, 'MAXLEN', MAX_EVENTS, '*', kind, data)
  redis.pcall('PEXPIRE', events, KEEP_EVENTS_MS)
end

local function publish_worker(prefix, worker, change)
  if is_subscribed(prefix) then
    local pool = redis.pcall('HGET', prefix .. ':worker:' .. worker, 'pool')
    local data = { id = worker, pool = type(pool) == 'string' and pool or '', change = change }
    publish(prefix, 'worker', cjson.encode(data))
  end
end
