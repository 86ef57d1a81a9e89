--[[
Become, or remain, the worker that watches the queues, unless another one does.

KEYS[1]  watcher
ARGV[1]  worker id
ARGV[2]  how long the election holds, in milliseconds
RETURNS  {1 if this worker is elected, else 0; how long the election of either still holds, in ms}
--]]
local watcher, worker, term_ms = KEYS[1], ARGV[1], ARGV[2]
local elected = get_string(watcher)
if elected and elected ~= worker then
  return { 0, call('PTTL', watcher) }
end
call('SET', watcher, worker, 'PX', term_ms)
return { 1, tonumber(term_ms) }
