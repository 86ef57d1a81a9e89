--[[
Take up to `count` jobs that the worker has handlers for, in strict priority order, first in first
out within (priority, type), and put them under the worker's lease.

A job of a type the worker does not handle moves to that type's own list, once, where whoever
handles it finds it first; no claim ever meets it again. So a claim costs O(jobs taken + jobs
parked), and each job is parked at most once.

A suspect (see recover.lua) is taken by a worker that holds nothing else, and nothing is taken
beside it. Where all workers are busy, one of them, the quarantine, takes nothing until it is empty.

A process whose worker id is another's by now takes nothing: nobody would know of these claims.

KEYS[1]  claims:<worker>
ARGV[1]  prefix
ARGV[2]  worker id
ARGV[3]  lease in milliseconds
ARGV[4]  token: unique to this call; the incarnation, a dot, a number that grows from call to call
ARGV[5]  count: jobs to take at the most
ARGV[6]  bytes of bodies after which to stop; one job is taken whatever its size
ARGV[7]  jobs to park at the most (the bound of this script's run time)
ARGV[8]  due jobs to promote first, at the most; 0 promotes none
ARGV[9]  number of priorities, then the priorities in order, then the job types
RETURNS  {1 when a bound was met and another call would find more, else 0,
          number of jobs promoted; ARGV[8] where there may be more,
          the crashes of the job where it is a suspect, else an empty list,
          then three a job: id, body (nil when there is none), fence}
A fence is "<token>.<place in the call>|<source>|<claimed at, in ms>", with a "!" before the first
bar where the job runs alone; the source is where it came from, "<priority>" or "<priority>:<type>".
--]]
local claims, prefix, worker = KEYS[1], ARGV[1], ARGV[2]
local lease_ms, token, left = tonumber(ARGV[3]), ARGV[4] .. '.', tonumber(ARGV[5])
local bytes_left, park_left, due = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local last_priority = 9 + tonumber(ARGV[9])
local _, now_ms = now()
local incarnation = call('HGET', prefix .. ':worker:' .. worker, 'incarnation')
if incarnation and incarnation ~= string.match(ARGV[4], '^(.*)%.') then
  return { 0, 0, {} }
end
call('ZADD', prefix .. ':workers', now_ms + lease_ms, worker)

local job_key, queue_key = prefix .. ':job:', prefix .. ':queue:'
local replies, rung, parked_types, taken = { 0, 0, {} }, {}, {}, 0
local handled, handled_types, met = {}, {}, {}
for i = last_priority + 1, #ARGV do
  handled[ARGV[i]] = true
  handled_types[#handled_types + 1] = ARGV[i]
end

-- The place of a call's first job is written so long that the server keeps the claims as a hash
-- table: in the compact form that it has for small values, each look would go through all of them.
local FIRST = string.rep('0', 64) .. '1'

-- Jobs that are read, and whose claims are written, in one go at the most.
local CHUNK = 32

local function park(id, priority, job_type)
  local source = priority .. ':' .. job_type
  call('LPUSH', queue_key .. source, id)
  park_left = park_left - 1
  if not parked_types[source] then
    parked_types[source] = true
    call('SADD', prefix .. ':parked:' .. priority, job_type)
    -- Rung for both kinds of listeners; who cannot handle it either will not meet it again.
    rung[source] = true
    rung[priority] = true
  end
end

-- What does not fit any more goes back to where it was, from ids[first] on.
local function put_back(list, ids, first)
  for i = #ids, first, -1 do
    call('RPUSH', list, ids[i])
  end
  replies[1] = 1
end

-- The bodies of jobs and the fences under which they are held already, from ids[first] on.
local function read(ids, first, last)
  local keys = {}
  for i = first, last do
    keys[#keys + 1] = job_key .. ids[i]
  end
  return call('MGET', unpack(keys)), call('HMGET', claims, unpack(ids, first, last))
end

-- Take ids[first] to ids[last]; the first that does not fit any more, if there is one. `tail` is
-- what their fences end with. With a `priority`, foreign jobs among them are parked.
local function take_chunk(ids, first, last, tail, priority)
  local bodies, fences = read(ids, first, last)
  local ours, seen, rest = {}, {}, nil
  for i = first, last do
    if bytes_left <= 0 then
      rest = i
      break
    end
    local id, body = ids[i], bodies[i - first + 1]
    local job_type = priority and body and type_of(body)
    bytes_left = bytes_left - (body and #body or 0)
    if job_type and not handled[job_type] then
      park(id, priority, job_type)
    elseif fences[i - first + 1] or seen[id] then
      -- An id that is in a queue twice is one job: it does not run beside itself.
      park_left = park_left - 1 -- bounds this as well
    else
      seen[id] = true
      left, taken, met[job_type or ''] = left - 1, taken + 1, true
      local fence, n = token .. (taken == 1 and FIRST or taken) .. tail, #replies
      replies[n + 1], replies[n + 2], replies[n + 3] = id, body, fence
      ours[#ours + 1] = id
      ours[#ours + 1] = fence
    end
  end
  if #ours > 0 then
    call('HSET', claims, unpack(ours))
  end
  return rest
end

-- Take what was popped from a list; what does not fit goes back. The first chunk is of one job, each
-- further one of twice as many: where bodies are large, few are read in vain.
local function take(list, ids, tail, priority)
  local first, size = 1, 1
  while first <= #ids do
    local last = math.min(first + size - 1, #ids)
    local rest = take_chunk(ids, first, last, tail, priority)
    if rest then
      return put_back(list, ids, rest)
    end
    first, size = last + 1, math.min(2 * size, CHUNK)
  end
end

local function take_some_parked(source, limit)
  local list = queue_key .. source
  take(list, call('RPOP', list, limit) or {}, '|' .. source .. '|' .. now_ms)
end

-- Those of the worker's types that have a list of parked jobs, looked for from the shorter side.
local function parked_here(parked)
  local count, types = call('SCARD', parked), {}
  if count > #handled_types and #handled_types > 0 then
    for i, is_parked in ipairs(call('SMISMEMBER', parked, unpack(handled_types))) do
      types[#types + 1] = is_parked == 1 and handled_types[i] or nil
    end
  elseif count > 0 then
    for _, job_type in ipairs(call('SMEMBERS', parked)) do
      types[#types + 1] = handled[job_type] and job_type or nil
    end
  end
  return types
end

-- Each type gets its share before any gets more, so that none waits for another to run dry.
local function take_parked(priority)
  local parked = prefix .. ':parked:' .. priority
  local types = parked_here(parked)
  local first = now_ms % math.max(#types, 1)
  for pass = 1, 2 do
    for i = 1, #types do
      if left > 0 and bytes_left > 0 then
        local job_type = types[(first + i) % #types + 1]
        local share = pass == 1 and math.ceil(left / (#types - i + 1)) or left
        take_some_parked(priority .. ':' .. job_type, share)
      end
    end
  end
  for _, job_type in ipairs(types) do
    if call('EXISTS', queue_key .. priority .. ':' .. job_type) == 0 then
      call('SREM', parked, job_type)
    else
      rung[priority .. ':' .. job_type] = true
    end
  end
end

local function take_queued(priority)
  local queue, tail = queue_key .. priority, '|' .. priority .. '|' .. now_ms
  met = {}
  while left > 0 and park_left > 0 and bytes_left > 0 do
    local ids = call('RPOP', queue, math.min(left, park_left))
    if not ids then
      return
    end
    take(queue, ids, tail, priority)
  end
  if call('EXISTS', queue) == 1 then
    -- The likeliest types of what is left are those just met.
    rung[priority] = true
    for job_type in pairs(met) do
      rung[priority .. ':' .. job_type] = true
    end
    if park_left <= 0 or bytes_left <= 0 then
      replies[1] = 1
    end
  end
end

-- The lists of suspects that this worker may run, the most urgent first.
local function suspects()
  local waiting, sources = call('SMEMBERS', prefix .. ':suspects'), {}
  for i = 10, last_priority do
    for _, source in ipairs(waiting) do
      local priority, job_type = string.match(source, '^(%a+):(.*)$')
      if priority == ARGV[i] and handled[job_type] then
        sources[#sources + 1] = source
      end
    end
  end
  return sources
end

local function take_suspect(source)
  local list = prefix .. ':queue:suspect:' .. source
  local id = call('RPOP', list)
  if call('EXISTS', list) == 0 then
    call('SREM', prefix .. ':suspects', source)
  end
  if id then
    take(list, { id }, '!|' .. source .. '|' .. now_ms)
    replies[3] = call('LRANGE', prefix .. ':crashes:' .. id, 0, -1)
    -- Others see to the rest meanwhile.
    for i = 10, last_priority do
      rung[ARGV[i]] = true
      rung[source] = true
    end
  end
  return #replies > 3
end

-- Whether the worker is to take nothing but what this has taken, if anything.
local function sees_to_suspects()
  local held = call('HLEN', claims)
  if held == 1 and string.find(call('HVALS', claims)[1], '^[^|]*!|') then
    return true
  end
  local sources = call('EXISTS', prefix .. ':suspects') == 1 and suspects() or {}
  if held > 0 and #sources > 0 then
    local quarantine = prefix .. ':quarantine'
    -- Kept by whoever has it: one worker runs empty, not one after the other by a part.
    return call('SET', quarantine, worker, 'NX', 'PX', lease_ms * 4)
      or call('GET', quarantine) == worker and call('PEXPIRE', quarantine, lease_ms * 4) == 1
  end
  for _, source in ipairs(sources) do
    if take_suspect(source) then
      return true
    end
  end
  return false
end

if due > 0 then
  replies[2] = promote(prefix, due, rung)
end
if not sees_to_suspects() then
  for i = 10, last_priority do
    if left > 0 and replies[1] == 0 then
      take_parked(ARGV[i])
    end
    if left > 0 and replies[1] == 0 then
      take_queued(ARGV[i])
    end
  end
end

-- What is left over is for the next idle worker.
ring(prefix, rung)
return replies
