--[[
Keep definitions of schedules seen, and learn which of them count (see include/schedule.lua).

A scheduler that stops does so under an id of its own, older than any that does not stop: it fires
only what nobody else does.

KEYS[1]  schedule:seen
KEYS[2]  schedule:definitions
then     schedules:<name> of each
ARGV[1]  Redis's clock, in Unix milliseconds
ARGV[2]  the same, written as next_run is
ARGV[3]  "1" if the caller is stopping
then     for each schedule: its name; id of the definition; its cron expression and time zone
RETURNS  for each schedule: next_run, the cron expression and time zone of it, 1 if the definition
         counts, and from when on, in Unix milliseconds; id of the definition that is stored
--]]
accept_oom(KEYS[1])
local seen_at, definitions = KEYS[1], KEYS[2]
local now_ms, is_stopping, replies = tonumber(ARGV[1]), ARGV[3] == '1', {}

-- Maximum number of removed schedules that one call deletes: bounds how long it blocks the server.
local REMOVE_LIMIT = 100

for i = 1, #KEYS - 2 do
  local schedule = KEYS[i + 2]
  local name, definition, expression = ARGV[3 * i + 1], ARGV[3 * i + 2], ARGV[3 * i + 3]
  local seen, newest = read_definitions(schedule), 0
  for id, times in pairs(seen) do
    newest = math.max(newest, times[1])
    if now_ms - times[3] > KEEP_MS then
      seen[id] = nil
      call('HDEL', schedule, 'seen:' .. id)
    end
  end
  local id, own = definition, seen[definition]
  local first = own and own[1] or math.max(now_ms, newest + 1)
  if is_stopping then
    id, first = id .. ':stopping', first - 1e15
    own = seen[id]
  end
  if not own or now_ms - own[3] >= REFRESH_MS then
    local since = own and now_ms - own[3] < GAP_MS and own[2] or now_ms
    own = { first, since, now_ms }
    seen[id] = own
    call('HSET', schedule, 'seen:' .. id, string.format('%.0f %.0f %.0f', unpack(own)))
    call('ZADD', seen_at, now_ms, name)
  end

  local stored = call('HMGET', schedule, 'next_run', 'cron', 'handled', 'defined')
  local next_run, cron, handled_ms = stored[1] or '', stored[2] or '', tonumber(stored[3]) or 0
  local current = is_current(seen, id, now_ms)
  if current and cron == expression and next_run > ARGV[2] and now_ms - handled_ms >= REFRESH_MS then
    call('HSET', schedule, 'handled', ARGV[1]) -- nothing is due
  end
  local from = string.format('%.0f', math.max(first, handled_ms))
  local defined = call('HEXISTS', definitions, name) == 1 and stored[4] or ''
  replies[#replies + 1] = { next_run, cron, current and 1 or 0, from, defined }
end

local removed = call('ZRANGEBYSCORE', seen_at, '-inf', now_ms - KEEP_MS, 'LIMIT', 0, REMOVE_LIMIT)
for _, name in ipairs(removed) do
  call('ZREM', seen_at, name)
  call('HDEL', definitions, name)
end
return replies
