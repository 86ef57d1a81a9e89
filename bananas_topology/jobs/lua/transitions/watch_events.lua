--[[
Keep events published, and read those after an id.

KEYS[1]  watched
KEYS[2]  events
KEYS[3]  stats (any key that never expires)
ARGV[1]  for how many milliseconds events are published without another call
ARGV[2]  id of the last event read; "" to learn the id of the newest one only
RETURNS  {Redis's clock, in Unix milliseconds; since when events have been published without a gap,
          likewise; id of the newest event, "" if there is none; number of events that are kept; 1 if
          older ones have been dropped; then the events: {id, {kind, data}}}
--]]
accept_oom(KEYS[3])
local watched, events, after = KEYS[1], KEYS[2], ARGV[2]
local _, now_ms = now()
local since = get_string(watched)
if not since then
  since = now_ms
  call('DEL', events)
end
call('SET', watched, since, 'PX', ARGV[1])

local length, newest = call('XLEN', events), call('XREVRANGE', events, '+', '-', 'COUNT', 1)
local replies = { now_ms, since, newest[1] and newest[1][1] or '', length,
  length >= MAX_EVENTS and 1 or 0 }
if after ~= '' then
  for _, event in ipairs(call('XRANGE', events, '(' .. after, '+')) do
    replies[#replies + 1] = event
  end
end
return replies
