--[[
Stop being the worker that watches the queues.

KEYS[1]  watcher
ARGV[1]  worker id
RETURNS  1 if this worker was elected, else 0
--]]
return get_string(KEYS[1]) == ARGV[1] and call('DEL', KEYS[1]) or 0
