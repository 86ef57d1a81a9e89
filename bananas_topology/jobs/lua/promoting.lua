--[[
Shared by what moves due jobs into their queues (promote, claim).

promote(prefix, limit, rung)  move up to `limit`, in due order, on Redis's clock; how many there were,
                              or `limit` where it stopped at a bound of its own
--]]

-- Bytes of bodies after which a promotion stops: others wait for the server meanwhile.
local PROMOTE_BYTES = 4 * 1024 * 1024

-- Priority, type, and the body without its scheduled_for. Bodies of ours are read and cut without
-- parsing: they begin with these fields. Others are parsed, and stored as they are: encoding them
-- again here would turn [] into {} and lose digits.
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

local function promote(prefix, limit, rung)
  local scheduled = prefix .. ':queue:scheduled'
  local now_s = string.format('%.6f', (now()))
  local ids = call('ZRANGEBYSCORE', scheduled, '-inf', now_s, 'LIMIT', 0, limit)
  local bytes = 0
  for _, id in ipairs(ids) do
    if bytes > PROMOTE_BYTES then
      return tonumber(limit)
    end
    local key = prefix .. ':job:' .. id
    local body = stored(key) or ''
    bytes = bytes + #body
    local priority, job_type, without = read_scheduled(body)
    if without then
      call('SET', key, without)
    end
    -- What is no job goes on to a worker, which sets it aside.
    if priority ~= 'high' and priority ~= 'low' then
      priority = 'normal'
    end
    call('LPUSH', prefix .. ':queue:' .. priority, id)
    call('ZREM', scheduled, id)
    rung[priority] = true
    rung[priority .. ':' .. (type(job_type) == 'string' and job_type or '')] = true
  end
  return #ids
end
