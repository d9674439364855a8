#!lua flags=allow-oom
-- A hub says that it lives, and up to when its beats are written. KEYS 1 nodes  2 revision of keys
-- ARGV 1 now in ms, or ''  2 node  3 watermark in ms  4 lease in ms, 0: it holds nobody up any more
-- 5 what else to show (packed)
-- A node's entry: "<watermark> <end of its lease> <what else>".
-- Answers {now, revision, its own entry before or '', node, entry, ...}.
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local former = redis.call('HGET', KEYS[1], ARGV[2]) or ''
if ARGV[4] == '0' then
  redis.call('HDEL', KEYS[1], ARGV[2])
else
  local mark = math.min(now, tonumber(ARGV[3])) -- no hub knows the future, whatever its clock says
  redis.call('HSET', KEYS[1], ARGV[2], string.format('%d %d ', mark, now + ARGV[4]) .. ARGV[5])
end
local out = {now, redis.call('GET', KEYS[2]) or '0', former}
for _, value in ipairs(redis.call('HGETALL', KEYS[1])) do out[#out + 1] = value end
return out
