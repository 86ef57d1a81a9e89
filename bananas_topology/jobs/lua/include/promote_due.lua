--[[
Included by scripts that move due jobs into their queues (promote, claim).

promote_due(prefix, limit, wakes)  move up to `limit` jobs in due order, by Redis's clock, and add
                                   their sources to `wakes`; returns the number of jobs moved, or
                                   `limit` if it stopped early because of their size
--]]

-- Total size of bodies, in bytes, after which a promotion stops, to bound how long it blocks the
-- server.
local PROMOTE_BYTES = 4 * 1024 * 1024

-- Returns priority, type, and the body without its scheduled_for. Bodies written by this package
-- begin with these fields, so they are read and cut without parsing. Others are parsed, and stored
-- unchanged: re-encoding them here would turn [] into {} and lose digits of large numbers.
local function read_scheduled(body)
  local rest, job_type, priority = string.match(
    body, '^{"scheduled_for":"[^"\\]*",()"id":"[^"\\]*","name":"([^"\\]*)","priority":"(%a+)"')
  if rest then
    return priority, job_type, '{' .. string.sub(body, rest)
  end
  local ok, job = pcall(cjson.decode, body)
  if ok and type(job) == 'table' then
    return job.priority, job.name, nil
  end
end

local function promote_due(prefix, limit, wakes)
  local scheduled = prefix .. ':queue:scheduled'
  local now_s = string.format('%.6f', (now()))
  local ids = call('ZRANGEBYSCORE', scheduled, '-inf', now_s, 'LIMIT', 0, limit)
  local bytes = 0
  for _, id in ipairs(ids) do
    if bytes > PROMOTE_BYTES then
      return tonumber(limit)
    end
    local key = prefix .. ':job:' .. id
    local body = get_string(key) or ''
    bytes = bytes + #body
    local priority, job_type, without = read_scheduled(body)
    if without then
      call('SET', key, without)
    end
    -- An unreadable job is queued as well: the worker that claims it buries it.
    if priority ~= 'high' and priority ~= 'low' then
      priority = 'normal'
    end
    call('LPUSH', prefix .. ':queue:' .. priority, id)
    call('ZREM', scheduled, id)
    wakes[priority] = true
    wakes[priority .. ':' .. (type(job_type) == 'string' and job_type or '')] = true
  end
  return #ids
end
