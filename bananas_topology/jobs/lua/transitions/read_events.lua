--[[
Read the events after an id, and keep the subscription alive.

KEYS[1]  subscribed
KEYS[2]  events
KEYS[3]  stats (any key that never expires)
ARGV[1]  milliseconds for which the subscription lasts
ARGV[2]  id of the last event that was read; "" reads no events
RETURNS  {Redis's clock; time since which events have been published without a gap (both in Unix
          milliseconds); id of the newest event, "" if there is none; number of stored events; 1 if
          the stream is full, so older events may have been dropped; then the events:
          {id, {kind, data}}}
--]]
accept_oom(KEYS[3])
local subscribed, events, after = KEYS[1], KEYS[2], ARGV[2]
local _, now_ms = now()
local since = get_string(subscribed)
if not string.match(since or '', '^%d+$') or #since > 15 then
  since = now_ms
  call('DEL', events)
end
call('SET', subscribed, since, 'PX', ARGV[1])

local length, newest = call('XLEN', events), call('XREVRANGE', events, '+', '-', 'COUNT', 1)
local replies = { now_ms, since, newest[1] and newest[1][1] or '', length,
  length >= MAX_EVENTS and 1 or 0 }
if after ~= '' then
  for _, event in ipairs(call('XRANGE', events, '(' .. after, '+')) do
    replies[#replies + 1] = event
  end
end
return replies
