--[[
Included by scripts that give a job its final status (ack, bury).

store_result(prefix, id, keep_ms, stale, ...)  store a result of four fields and values, and
                                               publish its notification; `stale` is the field that
                                               only the opposite outcome has
--]]
local function store_result(prefix, id, keep_ms, stale, ...)
  local result = prefix .. ':result:' .. id
  local added = redis.pcall('HSET', result, ...)
  if type(added) ~= 'number' then
    call('DEL', result) -- the key holds another type
    added = call('HSET', result, ...)
  end
  if added < 4 then
    call('HDEL', result, stale) -- left by an earlier run of the same job
  end
  call('PEXPIRE', result, keep_ms)
  -- The user may have no permission for channels: those who wait look by themselves, only later.
  redis.pcall('PUBLISH', prefix .. ':result:notify:' .. id, 'ready')
end
