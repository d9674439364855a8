#!lua
-- Writes samples in place of those that were read: two hubs that do it at once lose nothing.
-- KEYS 1 fine  2 coarse
-- ARGV for each: start in ms  SHA-1 of what was read, or ''  samples (packed)  what is older goes
--      (ms)  how long all of it stays, ms
-- Answers 1, or 0: others wrote meanwhile, and nothing was written.
for i, key in ipairs(KEYS) do
  local start, read = ARGV[5 * i - 4], ARGV[5 * i - 3]
  local found = redis.call('ZRANGE', key, start, start, 'BYSCORE')[1]
  if (found and redis.sha1hex(found) or '') ~= read then return 0 end
end
for i, key in ipairs(KEYS) do
  local start, samples, oldest, keep = ARGV[5 * i - 4], ARGV[5 * i - 2], ARGV[5 * i - 1], ARGV[5 * i]
  redis.call('ZREMRANGEBYSCORE', key, start, start)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. oldest)
  redis.call('ZADD', key, start, samples)
  redis.call('PEXPIRE', key, keep)
end
return 1
