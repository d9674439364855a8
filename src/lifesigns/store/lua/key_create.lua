-- Makes a key.
-- ARGV 2 id  3 hash  4 record  5 when it expires, or ''  6 the key that it depends on, or ''
--      7 '1' if hubs may remember its token as a bad one.
-- Answers ok, no_project, no_parent or known.
local id, hash, record, ends, parent, retold = unpack(ARGV, 2)
if redis.call('HEXISTS', PROJECTS, project) == 0 then return 'no_project' end
if parent ~= '' and redis.call('HEXISTS', IDS, parent) == 0 then return 'no_parent' end
if redis.call('HEXISTS', RECORDS, hash) == 1 or redis.call('HEXISTS', IDS, id) == 1 then
  return 'known'
end
redis.call('HSET', RECORDS, hash, record)
redis.call('HSET', IDS, id, hash)
if ends ~= '' then redis.call('ZADD', ENDS, ends, project .. '/' .. id) end
if retold == '1' then revise() end
return 'ok'
