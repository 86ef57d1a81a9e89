--[[
Shared by what moves due jobs into their queues (promote, claim).

promote(prefix, limit, rung)  move up to `limit`, in due order, on Redis's clock; how many there were
--]]

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
  for _, id in ipairs(ids) do
    local key = prefix .. ':job:' .. id
    local priority, job_type, without = read_scheduled(call('GET', key) or '')
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
