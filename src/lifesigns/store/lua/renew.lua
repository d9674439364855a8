#!lua flags=allow-oom
-- Lengthens leases. KEYS 1 live
-- ARGV 1 now in ms, or ''  2 ages (two bytes each, steps of 4 ms)  3 ttl in ms  4.. members
-- Answers now, then the indexes of the members that are not there.
-- Not for the append-only file: after a restart every lease is held for a full one anyway.
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
redis.set_repl(redis.REPL_REPLICA)
local z, k, base = {}, 0, now + ARGV[3]
for i = 4, #ARGV do
  local high, low = string.byte(ARGV[2], (i - 4) * 2 + 1, (i - 4) * 2 + 2)
  z[k + 1], z[k + 2] = string.format('%d', base - (high * 256 + low) * 4), ARGV[i]
  k = k + 2
end
local out = {now}
if redis.call('ZADD', KEYS[1], 'XX', 'CH', unpack(z)) * 2 < k then
  -- Fewer altered than sent: some are gone, or had this very score.
  local scores = redis.call('ZMSCORE', KEYS[1], unpack(ARGV, 4))
  for i = 1, #ARGV - 3 do
    if not scores[i] then out[#out + 1] = i - 1 end
  end
end
return out
