#!lua flags=allow-oom
-- The holders of claims are there. KEYS 1 claims
-- ARGV 1 now in ms, or ''  2 for how long that counts, ms  3.. claim, when it ends in any case
-- Answers now. Not for the append-only file: after a restart every claim is held for as long anyway.
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
redis.set_repl(redis.REPL_REPLICA)
local z, till = {}, now + ARGV[2]
for i = 3, #ARGV, 2 do
  z[i - 2], z[i - 1] = string.format('%d', math.min(till, tonumber(ARGV[i + 1]))), ARGV[i]
end
redis.call('ZADD', KEYS[1], 'XX', 'GT', unpack(z))
return now
