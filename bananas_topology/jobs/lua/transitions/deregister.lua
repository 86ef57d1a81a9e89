--[[
Remove a worker that has settled all its claims. Rejected while it holds claims: its lease covers
them until they are reaped.

KEYS[1]  workers
KEYS[2]  worker:<worker>
KEYS[3]  claims:<worker>
ARGV[1]  worker id
ARGV[2]  incarnation
ARGV[3]  prefix
RETURNS  1 removed, 0 it holds claims or another process has taken over the id
--]]
if call('HGET', KEYS[2], 'incarnation') ~= ARGV[2] or call('EXISTS', KEYS[3]) == 1 then
  return 0
end
publish_worker(ARGV[3], ARGV[1], 'left')
call('ZREM', KEYS[1], ARGV[1])
call('DEL', KEYS[2])
return 1
