-- What every script on keys and projects begins with. The first line of the script is put before it.
-- KEYS 1 projects  2 keys: hash of a token -> record  3 the project's ids: id -> hash
--      4 ends: project/id -> when it expires  5 revision  6 revoked: id -> the revision that did it
-- ARGV 1 project  2.. as each script says. Records are opaque here.
local PROJECTS, RECORDS, IDS, ENDS, REVISION, REVOKED = unpack(KEYS)
local project = ARGV[1]

-- How long a revocation is told to hubs that may have been away.
local TOLD_MS = 7 * 24 * 3600 * 1000

-- A revision is a time, so that one made after a flush is still above those made before it.
local function revise()
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  local revision = math.max(now, tonumber(redis.call('GET', REVISION) or 0) + 1)
  redis.call('SET', REVISION, string.format('%d', revision))
  redis.call('ZREMRANGEBYSCORE', REVOKED, '-inf', string.format('%d', revision - TOLD_MS))
  return revision
end

local function revoke(id, hash, revision)
  redis.call('HDEL', RECORDS, hash)
  redis.call('HDEL', IDS, id)
  redis.call('ZREM', ENDS, project .. '/' .. id)
  redis.call('ZADD', REVOKED, string.format('%d', revision), id)
end
