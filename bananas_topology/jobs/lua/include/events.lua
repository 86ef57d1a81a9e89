--[[
Included by scripts that publish events, which the API passes on to those who watch (jobs/events.py).
While nobody does, nothing is published. No function fails the script, which may do something more
important: a server may deny streams to its user.

is_watched(prefix)           whether somebody watches
publish(prefix, kind, data)  append an event; `data` is a JSON object
publish_worker(prefix, worker, change)
                             append that a worker has "joined" or "left", unless nobody watches; its
                             key worker:<worker> must exist
--]]
local MAX_EVENTS, KEEP_EVENTS_MS = 1000, 120000

local function is_watched(prefix)
  return redis.pcall('EXISTS', prefix .. ':watched') == 1
end

local function publish(prefix, kind, data)
  local events = prefix .. ':events'
  redis.pcall('XADD', events, 'MAXLEN', MAX_EVENTS, '*', kind, data)
  redis.pcall('PEXPIRE', events, KEEP_EVENTS_MS)
end

local function publish_worker(prefix, worker, change)
  if is_watched(prefix) then
    local pool = redis.pcall('HGET', prefix .. ':worker:' .. worker, 'pool')
    local data = { id = worker, pool = type(pool) == 'string' and pool or '', change = change }
    publish(prefix, 'worker', cjson.encode(data))
  end
end
