#!lua flags=allow-oom
-- Takes a lost hub from the list, unless it has ticked since. KEYS 1 nodes
-- ARGV 1 node  2 end of its lease, as it was when it was found lost. Answers 1, or 0.
local entry = redis.call('HGET', KEYS[1], ARGV[1])
if not entry or string.match(entry, '^%d+ (%d+) ') ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
