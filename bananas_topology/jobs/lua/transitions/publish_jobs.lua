--[[
Publish finished jobs. Rejected if the server is out of memory.

KEYS[1]  workers
ARGV[1]  prefix
then     one JSON object per job
RETURNS  number of registered workers, which share the rate of events; 0 if there is no subscriber,
         so nothing was published
--]]
local prefix = ARGV[1]
if not is_subscribed(prefix) then
  return 0
end
for i = 2, #ARGV do
  publish(prefix, 'job', ARGV[i])
end
return math.max(1, call('ZCARD', KEYS[1]))
