--[[
Enqueue one occurrence of a schedule, exactly once no matter how many schedulers try: only the one
that finds the schedule in the state it expects moves it on.

KEYS[1]  schedules:<name>
ARGV[1]  prefix
ARGV[2]  next_run as the caller read it; "" for a new schedule
ARGV[3]  new next_run
ARGV[4]  the cron expression and time zone from which next_run was computed
ARGV[5]  id of the job; "" to move on without firing
then     with an id only: body, priority, job type, last_run
RETURNS  1 fired or moved on, 0 another scheduler was first
--]]
local schedule, prefix, expected, next_run, id = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[5]
if (call('HGET', schedule, 'next_run') or '') ~= expected then
  return 0
end
call('HSET', schedule, 'next_run', next_run, 'cron', ARGV[4])
if id ~= '' and call('SET', prefix .. ':job:' .. id, ARGV[6], 'NX') then
  local priority, job_type = ARGV[7], ARGV[8]
  call('LPUSH', prefix .. ':queue:' .. priority, id)
  notify(prefix, { [priority] = true, [priority .. ':' .. job_type] = true })
  call('HSET', schedule, 'last_run', ARGV[9])
  call('HINCRBY', schedule, 'run_count', 1)
end
return 1
