--[[
Publish jobs that have finished. If the server is out of memory, this is rejected.

KEYS[1]  workers
ARGV[1]  prefix
then     one JSON object per job
RETURNS  number of workers, which share the rate of events; 0 if nobody watches, so that nothing was
         published
--]]
local prefix = ARGV[1]
if not is_watched(prefix) then
  return 0
end
for i = 2, #ARGV do
  publish(prefix, 'job', ARGV[i])
end
return math.max(1, call('ZCARD', KEYS[1]))
