--[[
Forget a worker that has settled all it held; refused while it holds claims, which its lease
then covers until they are reaped.

KEYS[1]  workers
KEYS[2]  worker:<worker>
KEYS[3]  claims:<worker>
ARGV[1]  worker id
ARGV[2]  incarnation
RETURNS  1 forgotten, 0 it holds claims or the id is another process's now
--]]
if call('HGET', KEYS[2], 'incarnation') ~= ARGV[2] or call('EXISTS', KEYS[3]) == 1 then
  return 0
end
call('ZREM', KEYS[1], ARGV[1])
call('DEL', KEYS[2])
return 1
