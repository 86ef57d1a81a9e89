--[[
Shared by what ends jobs for good (ack, bury).

conclude(prefix, id, keep_ms, stale, ...)  store a result, four fields and values, and notify;
                                           `stale` is the field that only the other outcome has
--]]
local function conclude(prefix, id, keep_ms, stale, ...)
  local result = prefix .. ':result:' .. id
  local added = redis.pcall('HSET', result, ...)
  if type(added) ~= 'number' then
    call('DEL', result) -- no result lies there, but something else
    added = call('HSET', result, ...)
  end
  if added < 4 then
    call('HDEL', result, stale) -- of a run before, that somebody had repeated
  end
  call('PEXPIRE', result, keep_ms)
  call('PUBLISH', prefix .. ':result:notify:' .. id, 'ready')
end
