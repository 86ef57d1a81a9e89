--[[
Return claims that no process works on to the lists they came from, at the head and in the order in
which they were claimed: claims of a worker whose lease has expired, of the previous process of a
restarted worker, or claims whose reply was lost in transit.

The first two kinds were held by a worker that went down. That is recorded as a crash of each of
these jobs, although at most one of them caused it. A job that is one crash short of poison therefore
becomes a suspect: it runs alone, in a worker that holds nothing else, so that the next crash is
certainly its own; a run that ends clears it. Innocent neighbors never become poison; the cost is
that jobs present at each of these crashes run one by one.

A worker may only seem to have gone down: its process was stopped, its network cut, its interpreter
held by one call. crashed:<incarnation> lists the crashes that were recorded for its process, which
withdraws them if it comes back (heartbeat.lua).

A process that has lost a connection may have requests in it that arrive later, even much later, than
this call. It is noted under worker:<worker>, so that a claim of an earlier call is rejected then; and
this call, if it is the one that is late, leaves alone what later calls have claimed.

KEYS[1]  claims:<worker> of the worker that held them
ARGV[1]  prefix
ARGV[2]  that worker's id
ARGV[3]  a token as that of a claim (see claim.lua) if the caller is that worker: its claims by earlier
         calls of this incarnation are lost replies. "" if it is another worker: acts only if the
         holder's lease has expired, and then removes that worker
ARGV[4]  maximum number of jobs to return (bounds this script's run time)
ARGV[5]  crashes that make a job poison
ARGV[6]  seconds to keep the record of crashes
then     ids that the caller does work on, to be left alone
RETURNS  {number of jobs returned, number of those held by a worker that went down,
         1 if this removed that worker}
--]]
accept_oom(KEYS[1])
local claims, prefix, worker = KEYS[1], ARGV[1], ARGV[2]
local incarnation, call_number = string.match(ARGV[3], '^(.*)%.(%d+)$')
local limit, poison, keep_s = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local workers = prefix .. ':workers'
local _, now_ms = now()

if not incarnation then
  local until_ms = call('ZSCORE', workers, worker)
  if until_ms and tonumber(until_ms) > tonumber(now_ms) then
    return { 0, 0, 0 }
  end
elseif call('HGET', prefix .. ':worker:' .. worker, 'incarnation') == incarnation then
  call('HSET', prefix .. ':worker:' .. worker, 'recovered', ARGV[3])
end

local known, lost, held, wakes, crashed = {}, {}, {}, {}, 0
for i = 7, #ARGV do
  known[ARGV[i]] = true
end

-- The process that made a claim: a fence begins with "<incarnation>.<call>.<place>".
local function incarnation_of(fence)
  return string.match(fence, '^[^.|]*')
end

local entries = call('HGETALL', claims)
for i = 1, #entries, 2 do
  local holder = incarnation_of(entries[i + 1])
  held[holder] = (held[holder] or 0) + 1
  local is_later = holder == incarnation
    and tonumber(string.match(entries[i + 1], '%.(%d+)') or 0) > tonumber(call_number)
  if not known[entries[i]] and not is_later then
    lost[#lost + 1] = { entries[i], entries[i + 1] }
  end
end
sort_latest_first(lost)

-- The list in which a suspect waits; nil if its type is unknown, in which case no handler ran it.
local function suspect_source(id, source)
  if string.find(source, ':', 1, true) then
    return source
  end
  local body = get_string(prefix .. ':job:' .. id)
  local job_type = body and job_type_of(body)
  return job_type and source .. ':' .. job_type
end

local function requeue_crashed(id, fence)
  local alone, source, claimed_ms = parse_fence(fence)
  local key, how = prefix .. ':crashes:' .. id, incarnation and 'reborn' or 'reaped'
  local holder = incarnation_of(fence)
  local crashed_key = prefix .. ':crashed:' .. holder
  -- The first of several calls has recorded crashes of other jobs that the same process held.
  local is_alone = alone == '!' or held[holder] == 1 and call('EXISTS', crashed_key) == 0
  local crash = table.concat({ now_ms, how, is_alone and 'alone' or 'shared', worker, claimed_ms }, '|')
  local crashes = call('RPUSH', key, crash)
  call('EXPIRE', key, keep_s)
  call('RPUSH', crashed_key, id, crash)
  call('EXPIRE', crashed_key, keep_s)
  local suspect = crashes >= math.max(poison - 1, 1) and suspect_source(id, source)
  if not suspect then
    return requeue(prefix, id, fence, wakes)
  end
  call('RPUSH', prefix .. ':queue:suspect:' .. suspect, id)
  call('SADD', prefix .. ':suspects', suspect)
  wakes[suspect] = true
  wakes[string.match(suspect, '^%a+')] = true
end

local returned = math.min(limit, #lost)
for i = 1, returned do
  local id, fence = lost[i][1], lost[i][2]
  if incarnation_of(fence) == incarnation then
    requeue(prefix, id, fence, wakes)
  else
    requeue_crashed(id, fence)
    crashed = crashed + 1
  end
  call('HDEL', claims, id)
end

local removed = 0
if not incarnation and returned == #lost then
  removed = call('ZREM', workers, worker)
  if removed == 1 then
    publish_worker(prefix, worker, 'left')
  end
  call('DEL', prefix .. ':worker:' .. worker)
end
notify(prefix, wakes)
return { returned, crashed, removed }
