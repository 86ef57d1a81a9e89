--[[
Count the jobs of the lists that a set names, a page at a time, and read when the next job of each
was created. Changes nothing. Of a body, no more than its first and last bytes are read.

KEYS[1]  parked:<priority>, or suspects: a set of names
KEYS[2]  queue:<priority>; left out for suspects
ARGV[1]  prefix
ARGV[2]  what precedes a name in the key of its list: "queue:<priority>:" or "queue:suspect:"
ARGV[3]  cursor: "0" for the first page
ARGV[4]  number of lists to read (about)
RETURNS  {the next cursor, "0" after the last page; number of names in the set;
          number of jobs in KEYS[2], created_at of the next one,
          then three per list: name, number of jobs, created_at of the next one}
created_at is "" if unknown.
--]]
local prefix = ARGV[1]

-- Bytes read at both ends of a body. All known producers write created_at before the payload, or
-- right before updated_at behind it.
local EDGE = 1024

local function decode_created_at(body)
  local ok, job = pcall(cjson.decode, body)
  return ok and type(job) == 'table' and type(job.created_at) == 'string' and job.created_at or ''
end

local function created_at(list)
  local id = call('LINDEX', list, -1)
  local key = prefix .. ':job:' .. (id or '')
  local head = id and redis.pcall('GETRANGE', key, 0, EDGE - 1)
  if type(head) ~= 'string' then
    return ''
  elseif #head < EDGE then
    return decode_created_at(head)
  end
  local before = string.match(head, '^(.-)"payload": ?') or head
  return string.match(before, '"created_at": ?"([^"\\]*)"')
    or string.match(
      call('GETRANGE', key, -EDGE, -1),
      '.*"created_at": ?"([^"\\]*)", ?"updated_at": ?"') or ''
end

local page = call('SSCAN', KEYS[1], ARGV[3], 'COUNT', ARGV[4])
local replies = { page[1], call('SCARD', KEYS[1]), 0, '' }
if KEYS[2] then
  replies[3], replies[4] = call('LLEN', KEYS[2]), created_at(KEYS[2])
end
for _, name in ipairs(page[2]) do
  local list = prefix .. ':' .. ARGV[2] .. name
  local n = #replies
  replies[n + 1], replies[n + 2], replies[n + 3] = name, call('LLEN', list), created_at(list)
end
return replies
