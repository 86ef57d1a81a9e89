--[[
Add what a worker has counted to the history: to the current step of each period, by the server's
clock. Of each step there is one string, in MessagePack, read as a whole by jobs/history.py:

  {types, pools, cells}; a cell is {type, pool, level, completed, failed, dead, runs, waits}

A cell's type and pool are positions in the lists of names, from 1; "" is the name of all others. Its
histograms (of run times and wait times) list the counts of consecutive buckets, where -n stands for
n empty ones. At level L, a bucket spans 2^L of the worker's.

The size of a step is bounded whatever is counted. There are at most MAX_CELLS cells and MAX_NAMES
bytes of names: what is beyond counts as other types of its pool, or of no pool. And if a step is
larger than MAX_BYTES, its longest histograms become coarser.

A worker that does not know whether its counts were added sends them again, under the same token.

KEYS[1]  history:flushed:<worker>
ARGV[1]  prefix
ARGV[2]  token of the counts: unique to them
ARGV[3]  pool of the worker
ARGV[4]  the counts in MessagePack: a list of {type, completed, failed, dead, runs, waits}
then     per period: seconds of a step, seconds that a step is kept
RETURNS  1 added, 0 the counts of this token have been added before
--]]
accept_oom(KEYS[1])
local prefix, token, pool, counted = ARGV[1], ARGV[2], ARGV[3], cmsgpack.unpack(ARGV[4])

local MAX_CELLS, MAX_TYPES, MAX_POOLS, MAX_NAMES = 600, 200, 50, 10000

-- A little less than 28 KiB, which allocators have a size for. Once a step is larger, SLACK is freed as
-- well, so that this is rare.
local MAX_BYTES, SLACK = 28600, 1000

-- The number of the worker's buckets, and the level at which all of them are one.
local BUCKETS, MAX_LEVEL = 128, 7

-- Seconds for which a worker may send counts again.
local RESEND_S = 3600

local TYPE, POOL, LEVEL, FIRST_COUNT, LAST_COUNT, RUNS, WAITS = 1, 2, 3, 4, 6, 7, 8

-- The sum of two histograms; of the second one, 2^levels buckets become one.
local function sum(histogram, other, levels)
  local counts, lowest, highest = {}, BUCKETS, 0
  local function add(values, span)
    local bucket = 0
    for i = 1, #values do
      local n = values[i]
      if n < 0 then
        bucket = bucket - n
      else
        local coarse = (bucket - bucket % span) / span
        counts[coarse] = (counts[coarse] or 0) + n
        if coarse < lowest then
          lowest = coarse
        end
        if coarse > highest then
          highest = coarse
        end
        bucket = bucket + 1
      end
    end
  end
  add(histogram, 1)
  add(other, 2 ^ levels)

  local values, length, gap = {}, 0, lowest
  for bucket = lowest, highest do
    local n = counts[bucket]
    if n then
      if gap > 0 then
        length = length + 1
        values[length] = -gap
        gap = 0
      end
      length = length + 1
      values[length] = n
    else
      gap = gap + 1
    end
  end
  return values
end

local function coarsen(cell)
  for field = RUNS, WAITS do
    cell[field] = sum({}, cell[field], 1)
  end
  cell[LEVEL] = cell[LEVEL] + 1
end

local function read(key)
  local stored = get_string(key)
  local ok, types, pools, cells = pcall(function()
    local step = cmsgpack.unpack(stored)
    return step[1], step[2], step[3]
  end)
  if ok and type(cells) == 'table' then
    return types, pools, cells
  end
  return { '' }, { '' }, {}
end

local function positions(names)
  local found = {}
  for position, name in ipairs(names) do
    found[name] = position
  end
  return found
end

local function has_room(names, maximum, name)
  return #names <= maximum and #table.concat(names) + #name <= MAX_NAMES
end

-- The position of a name, which is added if there is room; else that of all others.
local function intern(names, known, maximum, name)
  if not known[name] then
    if not has_room(names, maximum, name) then
      return 1
    end
    names[#names + 1] = name
    known[name] = #names
  end
  return known[name]
end

-- Make histograms coarser until a step is small enough, the longest first.
local function shrink(step, size)
  local cells = step[3]
  local function length(cell)
    return #cell[RUNS] + #cell[WAITS]
  end
  local by_length = { unpack(cells) }
  while size > MAX_BYTES - SLACK do
    table.sort(by_length, function(a, b) return length(a) > length(b) end)
    local before = size
    for _, cell in ipairs(by_length) do
      if size <= MAX_BYTES - SLACK then
        break
      elseif cell[LEVEL] < MAX_LEVEL then
        size = size - #cmsgpack.pack(cell)
        coarsen(cell)
        size = size + #cmsgpack.pack(cell)
      end
    end
    if size == before then
      break
    end
  end
end

local function add_to_step(key)
  local types, pools, cells = read(key)
  local pool_at = intern(pools, positions(pools), MAX_POOLS, pool)
  local known = positions(types)
  local by_type = {}
  for _, cell in ipairs(cells) do
    if cell[POOL] == pool_at then
      by_type[cell[TYPE]] = cell
    end
  end
  for _, entry in ipairs(counted) do
    local type_at = intern(types, known, MAX_TYPES, entry[1])
    if not by_type[type_at] and #cells >= MAX_CELLS then
      type_at = 1
    end
    local cell = by_type[type_at]
    if not cell then
      cell = { type_at, pool_at, 0, 0, 0, 0, {}, {} }
      by_type[type_at] = cell
      cells[#cells + 1] = cell
    end
    for field = FIRST_COUNT, LAST_COUNT do
      cell[field] = cell[field] + entry[field - 2]
    end
    for field = RUNS, WAITS do
      cell[field] = sum(cell[field], entry[field - 2], cell[LEVEL])
    end
  end
  local step = { types, pools, cells }
  local packed = cmsgpack.pack(step)
  if #packed > MAX_BYTES then
    shrink(step, #packed)
    packed = cmsgpack.pack(step)
  end
  return packed
end

if get_string(KEYS[1]) == token then
  return 0
end
local seconds = now()
for i = 5, #ARGV, 2 do
  local key = string.format('%s:history:%s:%.0f', prefix, ARGV[i], math.floor(seconds / ARGV[i]))
  call('SET', key, add_to_step(key), 'EX', ARGV[i + 1])
end
call('SET', KEYS[1], token, 'EX', RESEND_S)
return 1
