--[[
Keep definitions of schedules seen, and learn which of them count (see include/schedule.lua).

A scheduler that stops does so under an id of its own, older than any that does not stop: it fires
only what nobody else does.

KEYS     schedules:<name> of each
ARGV[1]  Redis's clock, in Unix milliseconds
ARGV[2]  the same, written as next_run is
ARGV[3]  "1" if the caller is stopping
then     for each schedule: id of the definition; its cron expression and time zone
RETURNS  for each schedule: next_run, the cron expression and time zone of it, 1 if the definition
         counts, and from when on, in Unix milliseconds
--]]
accept_oom(KEYS[1])
local now_ms, is_stopping, replies = tonumber(ARGV[1]), ARGV[3] == '1', {}

for i, schedule in ipairs(KEYS) do
  local definition, expression = ARGV[2 * i + 2], ARGV[2 * i + 3]
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
  end

  local stored = call('HMGET', schedule, 'next_run', 'cron', 'handled')
  local next_run, cron, handled_ms = stored[1] or '', stored[2] or '', tonumber(stored[3]) or 0
  local current = is_current(seen, id, now_ms)
  if current and cron == expression and next_run > ARGV[2] and now_ms - handled_ms >= REFRESH_MS then
    call('HSET', schedule, 'handled', ARGV[1]) -- nothing is due
  end
  local from = string.format('%.0f', math.max(first, handled_ms))
  replies[#replies + 1] = { next_run, cron, current and 1 or 0, from }
end
return replies
