--[[
Shared by what must know the type of a job (claim, recover).

type_of(body)  the job's type, or nil when the body is no job
--]]

-- Read without parsing where the producer writes id and name first (all known ones do): a payload
-- of megabytes must not be parsed here.
local function type_of(body)
  local job_type = string.match(body, '^{"id": ?"[^"\\]*", ?"name": ?"([^"\\]*)"')
  if job_type then
    return job_type
  end
  local ok, job = pcall(cjson.decode, body)
  if ok and type(job) == 'table' and type(job.name) == 'string' then
    return job.name
  end
end
