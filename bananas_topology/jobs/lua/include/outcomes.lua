--[[
Included by scripts after which a job is new or gone (cancel, retry_dead, purge_dead).

delete_outcomes(prefix, id)  delete what is stored about the job's runs
--]]
local function delete_outcomes(prefix, id)
  call('DEL', prefix .. ':failure:' .. id, prefix .. ':result:' .. id, prefix .. ':crashes:' .. id,
    prefix .. ':runs:' .. id)
end
