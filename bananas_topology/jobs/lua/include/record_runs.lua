--[[
Included by scripts that settle claims (ack, retry, bury, release).

record_runs(prefix, first, settled, keep_ms)  append the runs in ARGV from `first` on, which are pairs
                                              of id and JSON, to the histories of their jobs, of those
                                              in the set `settled`; each is kept for `keep_ms`, "0"
                                              deletes it
--]]

-- Maximum number of runs kept per job: the latest ones.
local MAX_RUNS = 20

local function record_runs(prefix, first, settled, keep_ms)
  for i = first, #ARGV, 2 do
    local runs = prefix .. ':runs:' .. ARGV[i]
    if settled[ARGV[i]] and keep_ms == '0' then
      call('DEL', runs)
    elseif settled[ARGV[i]] then
      if call('RPUSH', runs, ARGV[i + 1]) > MAX_RUNS then
        call('LTRIM', runs, -MAX_RUNS, -1)
      end
      call('PEXPIRE', runs, keep_ms)
    end
  end
end
