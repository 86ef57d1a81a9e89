--[[
Take up to `count` jobs that the worker has handlers for, in strict priority order, first in first
out within (priority, type), and put them under the worker's lease.

A job of a type the worker does not handle moves to that type's own list, once, where whoever
handles it finds it first; no claim ever meets it again. So a claim costs O(jobs taken + jobs
parked), and each job is parked at most once.

KEYS[1]  claims:<worker>
ARGV[1]  prefix
ARGV[2]  worker id
ARGV[3]  lease in milliseconds
ARGV[4]  token: unique to this call, the first part of each fence
ARGV[5]  count: jobs to take at the most
ARGV[6]  scan limit: jobs to park at the most (the bound of this script's run time)
ARGV[7]  number of priorities, then the priorities in order, then the job types
RETURNS  {1 when the scan limit was met and another call would find more, else 0,
          then three a job: id, body (nil when there is none), fence}
--]]
local claims, prefix, worker = KEYS[1], ARGV[1], ARGV[2]
local lease_ms, token, left, scan_left = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local last_priority = 7 + tonumber(ARGV[7])
local _, now_ms = now()
redis.call('ZADD', prefix .. ':workers', now_ms + lease_ms, worker)

local handled = {}
for i = last_priority + 1, #ARGV do
  handled[ARGV[i]] = true
end

-- Read without parsing where the producer writes id and name first (all known ones do): a payload
-- of megabytes must not be parsed here. nil when the body is no job at all.
local function type_of(body)
  local job_type = string.match(body, '^{"id": ?"[^"\\]*", ?"name": ?"([^"\\]*)"')
  if job_type then
    return job_type
  end
  local ok, job = pcall(cjson.decode, body)
  if ok and type(job) == 'table' and type(job.name) == 'string' then
    return job.name
  end
end

local replies, rung = { 0 }, {}

local function take(id, body, source)
  local fence = token .. '|' .. source .. '|' .. string.format('%.0f', now_ms)
  -- An id that is in a queue twice is one job: it does not run beside itself.
  if redis.call('HSETNX', claims, id, fence) == 1 then
    replies[#replies + 1] = id
    replies[#replies + 1] = body
    replies[#replies + 1] = fence
    left = left - 1
  end
end

local function bodies_of(ids)
  local names = {}
  for i, id in ipairs(ids) do
    names[i] = prefix .. ':job:' .. id
  end
  return redis.call('MGET', unpack(names))
end

local function take_parked(priority)
  local parked = prefix .. ':parked:' .. priority
  for _, job_type in ipairs(redis.call('SMEMBERS', parked)) do
    if handled[job_type] and left > 0 then
      local source = priority .. ':' .. job_type
      local list = prefix .. ':queue:' .. source
      local ids = redis.call('RPOP', list, left)
      if ids then
        local bodies = bodies_of(ids)
        for i, id in ipairs(ids) do
          take(id, bodies[i], source)
        end
      end
      if redis.call('EXISTS', list) == 0 then
        redis.call('SREM', parked, job_type)
      else
        rung[source] = true
      end
    end
  end
end

local function park(id, priority, job_type)
  local source = priority .. ':' .. job_type
  redis.call('LPUSH', prefix .. ':queue:' .. source, id)
  redis.call('SADD', prefix .. ':parked:' .. priority, job_type)
  -- Rung for both kinds of listeners; who cannot handle it either will not meet it again.
  rung[source] = true
  rung[priority] = true
  scan_left = scan_left - 1
end

local function take_queued(priority)
  local queue = prefix .. ':queue:' .. priority
  local sources = { [priority] = true }
  while left > 0 and scan_left > 0 do
    local ids = redis.call('RPOP', queue, math.min(left, scan_left))
    if not ids then
      return
    end
    local bodies = bodies_of(ids)
    for i, id in ipairs(ids) do
      local job_type = bodies[i] and type_of(bodies[i])
      if job_type and not handled[job_type] then
        park(id, priority, job_type)
      else
        take(id, bodies[i], priority)
        sources[priority .. ':' .. (job_type or '')] = true
      end
    end
  end
  if redis.call('EXISTS', queue) == 1 then
    -- The likeliest types of what is left are those just met.
    for source in pairs(sources) do
      rung[source] = true
    end
    replies[1] = scan_left <= 0 and 1 or 0
  end
end

for i = 8, last_priority do
  if left > 0 and replies[1] == 0 then
    take_parked(ARGV[i])
    take_queued(ARGV[i])
  end
end

-- What is left over is for the next idle worker.
ring(prefix, rung)
return replies
