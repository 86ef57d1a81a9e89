--[[
Return claims that nobody works on to where they came from, ahead of what waits there and in the
order in which they were claimed: those of a worker whose lease ran out, of the process that a
reborn worker was, or claims whose reply was lost on its way.

The first two kinds were with a worker when it went down: that is kept as a crash of each of these
jobs, though only one of them, if any, is to blame. A job that is one crash short of poison is
therefore a suspect from then on: it runs alone, in a worker that holds nothing else, so that the
next crash is surely its own, and a run that ends clears it. Innocent neighbours never become
poison; what it costs is that jobs which were there at each of these crashes run one by one.

KEYS[1]  claims:<worker> of the worker that held them
ARGV[1]  prefix
ARGV[2]  that worker's id
ARGV[3]  the caller's incarnation, when it is that worker: claims under this incarnation are lost
         replies. "" when it is another one: only if the worker's lease has run out, which is then
         forgotten
ARGV[4]  jobs to return at the most (the bound of this script's run time)
ARGV[5]  crashes that make a job poison
ARGV[6]  seconds to keep what is known of crashes
then     ids that the caller does work on, to be left
RETURNS  {number of jobs returned, number of those which went down with the worker}
--]]
local claims, prefix, worker, incarnation = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local limit, poison, keep_s = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local workers = prefix .. ':workers'
local _, now_ms = now()

if incarnation == '' then
  local until_ms = call('ZSCORE', workers, worker)
  if until_ms and tonumber(until_ms) > tonumber(now_ms) then
    return { 0, 0 }
  end
end

local known, lost, rung, crashed = {}, {}, {}, 0
for i = 7, #ARGV do
  known[ARGV[i]] = true
end
local entries = call('HGETALL', claims)
for i = 1, #entries, 2 do
  if not known[entries[i]] then
    lost[#lost + 1] = { entries[i], entries[i + 1] }
  end
end
latest_first(lost)

-- Where a job that runs alone waits: nil if its type cannot be told, when no handler ever saw it.
local function suspect_source(id, source)
  if string.find(source, ':', 1, true) then
    return source
  end
  local body = stored(prefix .. ':job:' .. id)
  local job_type = body and type_of(body)
  return job_type and source .. ':' .. job_type
end

local function return_crashed(id, fence)
  local alone, source = string.match(fence, '^[^|]-(!?)|(.*)|%d+$')
  local key, how = prefix .. ':crashes:' .. id, incarnation == '' and 'reaped' or 'reborn'
  local company = alone == '!' and 'alone' or 'shared'
  local crashes = call('RPUSH', key, table.concat({ now_ms, how, company, worker }, '|'))
  call('EXPIRE', key, keep_s)
  local aside = crashes >= math.max(poison - 1, 1) and suspect_source(id, source)
  if not aside then
    return give_back(prefix, id, fence, rung)
  end
  call('RPUSH', prefix .. ':queue:suspect:' .. aside, id)
  call('SADD', prefix .. ':suspects', aside)
  rung[aside] = true
  rung[string.match(aside, '^%a+')] = true
end

local returned = math.min(limit, #lost)
for i = 1, returned do
  local id, fence = lost[i][1], lost[i][2]
  if incarnation ~= '' and string.sub(fence, 1, #incarnation + 1) == incarnation .. '.' then
    give_back(prefix, id, fence, rung)
  else
    return_crashed(id, fence)
    crashed = crashed + 1
  end
  call('HDEL', claims, id)
end

if incarnation == '' and returned == #lost then
  call('ZREM', workers, worker)
  call('DEL', prefix .. ':worker:' .. worker)
end
ring(prefix, rung)
return { returned, crashed }
