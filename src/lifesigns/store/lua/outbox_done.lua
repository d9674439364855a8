#!lua flags=allow-oom
-- Drops from an outbox what was taken, and from the agenda an outbox in which nothing is left.
-- KEYS 1 outbox  2 agenda   ARGV 1 the last entry that was taken  2 the outbox's name in the agenda
-- Answers how many are left.
local ms, n = string.match(ARGV[1], '^(%d+)-(%d+)$')
redis.call('XTRIM', KEYS[1], 'MINID', ms .. '-' .. string.format('%d', n + 1))
local left = redis.call('XLEN', KEYS[1])
if left == 0 then redis.call('ZREM', KEYS[2], ARGV[2]) end
return left
