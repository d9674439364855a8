-- Drops a project with all its keys. Answers 1, or 0 if there is none.
if redis.call('HDEL', PROJECTS, project) == 0 then return 0 end
local revision = revise()
local ids = redis.call('HGETALL', IDS)
for i = 1, #ids, 2 do revoke(ids[i], ids[i + 1], revision) end
return 1
