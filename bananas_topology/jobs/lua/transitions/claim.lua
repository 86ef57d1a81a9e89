--[[
Claim up to `count` jobs that the worker has handlers for, in strict priority order and first in,
first out within (priority, type), and hold them under the worker's lease.

A job of a type that the worker does not handle is parked: moved once to a list for its type, where a
worker that handles it looks first and which other claims never read. A claim therefore costs
O(jobs claimed + jobs parked), and each job is parked at most once.

A suspect (see recover.lua) is claimed only by a worker that holds nothing else, and nothing is
claimed beside it. If all workers are busy, one of them, the quarantine, claims nothing until it has
finished what it holds.

A process whose worker id was taken over by another one claims nothing: its claims would be unknown
to the owner of the id. Nor does a call that arrives after the process has given it up (see
recover.lua), from a connection that it has closed: nobody would read the reply.

KEYS[1]  claims:<worker>
ARGV[1]  prefix
ARGV[2]  worker id
ARGV[3]  lease in milliseconds, if the worker is not registered
ARGV[4]  token, unique to this call: the incarnation, a dot, a number that increases with each call
ARGV[5]  count: maximum number of jobs to claim
ARGV[6]  total size of bodies, in bytes, at which to stop; the first job is claimed whatever its size
ARGV[7]  maximum number of jobs to park (bounds this script's run time)
ARGV[8]  maximum number of due jobs to promote first; 0 promotes none
ARGV[9]  number of priorities, then the priorities in order, then the job types
RETURNS  {1 if a limit other than `count` was reached and another call would find more, else 0,
          number of jobs promoted; ARGV[8] if more may be due,
          the crashes of the job if it is a suspect, else an empty list,
          then three per job: id, body (nil if there is none), fence}
A fence is "<token>.<place in the call>|<source>|<claim time, in ms>", with a "!" before the first
bar if the job runs alone. The source is the list it came from: "<priority>" or "<priority>:<type>".
--]]
accept_oom(KEYS[1])
local claims, prefix, worker = KEYS[1], ARGV[1], ARGV[2]
local token, left = ARGV[4] .. '.', tonumber(ARGV[5])
local bytes_left, park_left, promote_limit = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local last_priority = 9 + tonumber(ARGV[9])
local _, now_ms = now()
local incarnation, call_number = string.match(ARGV[4], '^(.*)%.(%d+)$')
local fields = { 'incarnation', 'lease_ms', 'recovered' }
local registered = call('HMGET', prefix .. ':worker:' .. worker, unpack(fields))
if registered[1] and registered[1] ~= incarnation then
  return { 0, 0, {} }
end
local given_up = string.match(registered[3] or '', '^' .. incarnation .. '%.(%d+)$')
if given_up and tonumber(call_number) < tonumber(given_up) then
  return { 0, 0, {} }
end
local lease_ms = tonumber(registered[2] or ARGV[3])
call('ZADD', prefix .. ':workers', now_ms + lease_ms, worker)

local job_key, queue_key = prefix .. ':job:', prefix .. ':queue:'
local replies, wakes, parked_sources, claimed = { 0, 0, {} }, {}, {}, 0
local handled, handled_types, claimed_types = {}, {}, {}
for i = last_priority + 1, #ARGV do
  handled[ARGV[i]] = true
  handled_types[#handled_types + 1] = ARGV[i]
end

-- The place of a call's first job is padded so that Redis stores the claims as a hash table: in its
-- compact encoding for small values, every lookup would scan all of them.
local FIRST = string.rep('0', 64) .. '1'

-- Maximum number of jobs whose bodies are read, and whose claims are written, by one command.
local CHUNK = 32

local function park(id, priority, job_type)
  local source = priority .. ':' .. job_type
  call('LPUSH', queue_key .. source, id)
  park_left = park_left - 1
  if not parked_sources[source] then
    parked_sources[source] = true
    call('SADD', prefix .. ':parked:' .. priority, job_type)
    -- Wakes listeners of both kinds; a worker that does not handle the type will not find it.
    wakes[source] = true
    wakes[priority] = true
  end
end

-- Push back ids[first] and those after it, which exceed a limit.
local function put_back(list, ids, first)
  for i = #ids, first, -1 do
    call('RPUSH', list, ids[i])
  end
  replies[1] = 1
end

-- The bodies of ids[first] to ids[last], and the fences of those that are claimed already.
local function read(ids, first, last)
  local keys = {}
  for i = first, last do
    keys[#keys + 1] = job_key .. ids[i]
  end
  return call('MGET', unpack(keys)), call('HMGET', claims, unpack(ids, first, last))
end

-- Claim ids[first] to ids[last]; returns the index of the first one that exceeds the size limit, or
-- nil. `tail` ends their fences. With a `priority`, jobs of unhandled types are parked.
local function claim_chunk(ids, first, last, tail, priority)
  local bodies, fences = read(ids, first, last)
  local new_claims, seen, rest = {}, {}, nil
  for i = first, last do
    if bytes_left <= 0 then
      rest = i
      break
    end
    local id, body = ids[i], bodies[i - first + 1]
    local job_type = priority and body and job_type_of(body)
    bytes_left = bytes_left - (body and #body or 0)
    if job_type and not handled[job_type] then
      park(id, priority, job_type)
    elseif fences[i - first + 1] or seen[id] then
      -- An id that is queued twice is one job: it is dropped rather than run concurrently.
      park_left = park_left - 1 -- bounds the number of duplicates as well
    else
      seen[id] = true
      left, claimed, claimed_types[job_type or ''] = left - 1, claimed + 1, true
      local fence, n = token .. (claimed == 1 and FIRST or claimed) .. tail, #replies
      replies[n + 1], replies[n + 2], replies[n + 3] = id, body, fence
      new_claims[#new_claims + 1] = id
      new_claims[#new_claims + 1] = fence
    end
  end
  if #new_claims > 0 then
    call('HSET', claims, unpack(new_claims))
  end
  return rest
end

-- Claim what was popped from a list; what exceeds the size limit is pushed back. The first chunk has
-- one job and each further one twice as many, so that few large bodies are read and not claimed.
local function claim_popped(list, ids, tail, priority)
  local first, size = 1, 1
  while first <= #ids do
    local last = math.min(first + size - 1, #ids)
    local rest = claim_chunk(ids, first, last, tail, priority)
    if rest then
      return put_back(list, ids, rest)
    end
    first, size = last + 1, math.min(2 * size, CHUNK)
  end
end

local function claim_parked_type(source, limit)
  local list = queue_key .. source
  claim_popped(list, call('RPOP', list, limit) or {}, '|' .. source .. '|' .. now_ms)
end

-- The worker's types that have a list of parked jobs: the smaller of the two sets is iterated.
local function parked_types_handled(parked)
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

-- Every type gets a share before any gets more, so that none waits until another is empty.
local function claim_parked(priority)
  local parked = prefix .. ':parked:' .. priority
  local types = parked_types_handled(parked)
  local first = now_ms % math.max(#types, 1)
  for pass = 1, 2 do
    for i = 1, #types do
      if left > 0 and bytes_left > 0 then
        local job_type = types[(first + i) % #types + 1]
        local share = pass == 1 and math.ceil(left / (#types - i + 1)) or left
        claim_parked_type(priority .. ':' .. job_type, share)
      end
    end
  end
  for _, job_type in ipairs(types) do
    if call('EXISTS', queue_key .. priority .. ':' .. job_type) == 0 then
      call('SREM', parked, job_type)
    else
      wakes[priority .. ':' .. job_type] = true
    end
  end
end

local function claim_queued(priority)
  local queue, tail = queue_key .. priority, '|' .. priority .. '|' .. now_ms
  claimed_types = {}
  while left > 0 and park_left > 0 and bytes_left > 0 do
    local ids = call('RPOP', queue, math.min(left, park_left))
    if not ids then
      return
    end
    claim_popped(queue, ids, tail, priority)
  end
  if call('EXISTS', queue) == 1 then
    -- What remains is most likely of the types that were just claimed.
    wakes[priority] = true
    for job_type in pairs(claimed_types) do
      wakes[priority .. ':' .. job_type] = true
    end
    if park_left <= 0 or bytes_left <= 0 then
      replies[1] = 1
    end
  end
end

-- The lists of suspects that this worker can run, in priority order.
local function suspect_sources()
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

local function claim_suspect(source)
  local list = prefix .. ':queue:suspect:' .. source
  local id = call('RPOP', list)
  if call('EXISTS', list) == 0 then
    call('SREM', prefix .. ':suspects', source)
  end
  if id then
    claim_popped(list, { id }, '!|' .. source .. '|' .. now_ms)
    replies[3] = call('LRANGE', prefix .. ':crashes:' .. id, 0, -1)
    -- The remaining jobs are for other workers.
    for i = 10, last_priority do
      wakes[ARGV[i]] = true
      wakes[source] = true
    end
  end
  return #replies > 3
end

-- Claim a suspect if there is one for this worker. Returns whether nothing else may be claimed.
local function handle_suspects()
  local held = call('HLEN', claims)
  if held == 1 and string.find(call('HVALS', claims)[1], '^[^|]*!|') then
    return true
  end
  local sources = call('EXISTS', prefix .. ':suspects') == 1 and suspect_sources() or {}
  if held > 0 and #sources > 0 then
    local quarantine = prefix .. ':quarantine'
    -- Kept by the worker that has it: one worker runs empty, instead of several running half empty.
    return call('SET', quarantine, worker, 'NX', 'PX', lease_ms * 4)
      or call('GET', quarantine) == worker and call('PEXPIRE', quarantine, lease_ms * 4) == 1
  end
  for _, source in ipairs(sources) do
    if claim_suspect(source) then
      return true
    end
  end
  return false
end

if promote_limit > 0 then
  replies[2] = promote_due(prefix, promote_limit, wakes)
end
if not handle_suspects() then
  for i = 10, last_priority do
    if left > 0 and replies[1] == 0 then
      claim_parked(ARGV[i])
    end
    if left > 0 and replies[1] == 0 then
      claim_queued(ARGV[i])
    end
  end
end

-- Jobs that remain are for the next idle worker.
notify(prefix, wakes)
return replies
