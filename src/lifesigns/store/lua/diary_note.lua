#!lua
-- Notes what was reported with a beat, unless the same was noted a moment ago.
-- KEYS 1 the diary  2 all diaries of the book  3 the books
-- ARGV 1 now in ms, or ''  2 member: agent, topic  3 book  4 report, opaque
--      5 how soon the same is not noted again  6 most entries  7 how long one is kept
-- Answers whether it was noted.
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local keep_ms = tonumber(ARGV[7])
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last and last[2][2] == ARGV[4] then
  local age = now - tonumber(string.match(last[1], '^%d+'))
  if age >= 0 and age < tonumber(ARGV[5]) then return 0 end
end
-- The server's own number rises though its clock goes back.
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[6], ARGV[1] == '' and '*' or ARGV[1] .. '-*', 'report', ARGV[4])
redis.call('XTRIM', KEYS[1], 'MINID', string.format('%d', now - keep_ms))
redis.call('PEXPIRE', KEYS[1], keep_ms)
redis.call('ZADD', KEYS[2], string.format('%d', now), ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('(%d', now - keep_ms))
redis.call('SADD', KEYS[3], ARGV[3])
return 1
