--[[
Included by scripts that need a job's type (claim, recover, announce, cancel).

job_type_of(body)  the job's type, or nil if the body is not a job
--]]

-- Read by pattern if the producer writes id and name first, as all known producers do: parsing
-- payloads of several megabytes here would block the server.
local function job_type_of(body)
  local job_type = string.match(body, '^{"id": ?"[^"\\]*", ?"name": ?"([^"\\]*)"')
  if job_type then
    return job_type
  end
  local ok, job = pcall(cjson.decode, body)
  if ok and type(job) == 'table' and type(job.name) == 'string' then
    return job.name
  end
end
