-- Sets the root key. ARGV 2 its id  3 hash  4 record  5 '1' to replace another one.
-- Answers set, replaced, kept (there is one already) or known (it is another key's token).
local id, hash, record, replace = unpack(ARGV, 2)
local former = redis.call('HGET', IDS, id)
if former == hash or (former and replace ~= '1') then return 'kept' end
if redis.call('HEXISTS', RECORDS, hash) == 1 then return 'known' end
local revision = revise()
if former then revoke(id, former, revision) end
redis.call('HSET', RECORDS, hash, record)
redis.call('HSET', IDS, id, hash)
return former and 'replaced' or 'set'
