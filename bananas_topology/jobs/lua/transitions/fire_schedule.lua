--[[
Enqueue one occurrence of a schedule, exactly once no matter how many schedulers try: only the one
that finds the schedule in the state it expects, and whose definition counts, moves it on.

KEYS[1]  schedules:<name>
ARGV[1]  prefix
ARGV[2]  id of the definition
ARGV[3]  Redis's clock, in Unix milliseconds
ARGV[4]  next_run as the caller read it; "" for a new schedule
ARGV[5]  new next_run
ARGV[6]  the cron expression and time zone from which next_run was computed
ARGV[7]  id of the job; "" to move on without firing
then     with an id only: body, priority, job type, last_run
RETURNS  1 fired or moved on, 0 another scheduler was first, or has a newer definition
--]]
local schedule, prefix, now_ms, id = KEYS[1], ARGV[1], ARGV[3], ARGV[7]
if (call('HGET', schedule, 'next_run') or '') ~= ARGV[4] then
  return 0
end
if not is_current(read_definitions(schedule), ARGV[2], tonumber(now_ms)) then
  return 0
end
call('HSET', schedule, 'next_run', ARGV[5], 'cron', ARGV[6])
if id == '' then
  return 1
end
call('HSET', schedule, 'handled', now_ms)
if call('SET', prefix .. ':job:' .. id, ARGV[8], 'NX') then
  local priority, job_type = ARGV[9], ARGV[10]
  call('LPUSH', prefix .. ':queue:' .. priority, id)
  notify(prefix, { [priority] = true, [priority .. ':' .. job_type] = true })
  call('HSET', schedule, 'last_run', ARGV[11])
  call('HINCRBY', schedule, 'run_count', 1)
end
return 1
