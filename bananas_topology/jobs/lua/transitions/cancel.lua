--[[
Delete a job that has not started, and everything stored about it. A job that is claimed, finished, or
with another worker is left alone.

KEYS[1]  queue:scheduled
ARGV[1]  prefix
ARGV[2]  id
RETURNS  1 cancelled, 0 it waits nowhere
--]]
accept_oom(KEYS[1])
local scheduled, prefix, id = KEYS[1], ARGV[1], ARGV[2]
local job, queue = prefix .. ':job:' .. id, prefix .. ':queue:'

for _, worker in ipairs(call('ZRANGE', prefix .. ':workers', 0, -1)) do
  if call('HEXISTS', prefix .. ':claims:' .. worker, id) == 1 then
    return 0
  end
end

-- Remove the id from a list; once this has emptied it, its name from the set of such lists.
local function remove(list, names, name)
  local removed = call('LREM', list, 0, id)
  if removed > 0 and names and call('EXISTS', list) == 0 then
    call('SREM', names, name)
  end
  return removed
end

local found = call('ZREM', scheduled, id)
local job_type = job_type_of(get_string(job) or '') or ''
for _, priority in ipairs({ 'high', 'normal', 'low' }) do
  local source = priority .. ':' .. job_type
  -- A list costs its length, so the search ends where the job is.
  found = found > 0 and found or remove(queue .. priority)
  found = found > 0 and found or remove(queue .. source, prefix .. ':parked:' .. priority, job_type)
  found = found > 0 and found or remove(queue .. 'suspect:' .. source, prefix .. ':suspects', source)
end
if found == 0 then
  return 0
end
call('DEL', job)
delete_outcomes(prefix, id)
call('PUBLISH', prefix .. ':result:notify:' .. id, 'ready')
return 1
