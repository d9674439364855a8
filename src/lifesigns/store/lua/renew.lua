#!lua flags=allow-oom
-- Lengthens leases. KEYS 1 live  2 due
-- ARGV 1 now in ms, or ''  2 ages (two bytes each, steps of 4 ms)  3 ttl in ms  4 project  5.. members
-- Answers now, then the indexes of the members that are not there.
-- None is shortened, but for those that tell nothing of a sign of life: those that were lengthened
-- or held, and those from before the clock went back. These end by the last sign again, if that is
-- not over.
-- Not for the append-only file: after a restart every lease is held for a full one anyway.
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
redis.set_repl(redis.REPL_REPLICA)
local z, k, base = {}, 0, now + ARGV[3]
for i = 5, #ARGV do
  local high, low = string.byte(ARGV[2], (i - 5) * 2 + 1, (i - 5) * 2 + 2)
  z[k + 1], z[k + 2] = string.format('%d', base - (high * 256 + low) * 4), ARGV[i]
  k = k + 2
end
local out = {now}
if redis.call('ZADD', KEYS[1], 'XX', 'GT', 'CH', unpack(z)) * 2 < k then
  -- Fewer altered than sent: some are gone, or end later, or had this very score.
  local scores, shorter, due = redis.call('ZMSCORE', KEYS[1], unpack(ARGV, 5)), {}, nil
  for i, score in ipairs(scores) do
    local ends, known = tonumber(z[i * 2 - 1]), tonumber(score or 0)
    if not score then
      out[#out + 1] = i - 1
    elseif ends > now and (known % 1 > 0 or known > base) then
      shorter[#shorter + 1], shorter[#shorter + 2] = z[i * 2 - 1], z[i * 2]
      if not due or ends < due then due = ends end
    end
  end
  if due then
    redis.call('ZADD', KEYS[1], 'XX', unpack(shorter))
    redis.set_repl(redis.REPL_ALL)
    redis.call('ZADD', KEYS[2], 'LT', string.format('%d', due), ARGV[4])
  end
end
return out
