-- Renews a claim, and ties it to who renews it. Batch = {agent, token, holder, ttl, bound}; ttl: 0 as
-- long as before, -1 it ends when it did. Answers {now, epoch, seq, terms}; without terms it is lost.
local name, token, holder, ttl, bound = unpack(cmsgpack.unpack(ARGV[5]))
local claim = token .. '@' .. name
load({name})
local packed = redis.call('HGET', KEYS[10], claim)
local held = packed and find_claim(recs[name], token) and cmsgpack.unpack(packed)
if not held or held[HOLDER] ~= holder or held[ENDS] <= now then return {now, epoch, seq} end
if ttl > 0 then held[TTL_OF] = ttl end
if ttl >= 0 then held[ENDS] = now + held[TTL_OF] end
held[BOUND] = bound
local due = string.format('%d', bound and math.min(held[ENDS], now + rules[7]) or held[ENDS])
packed = cmsgpack.pack(held)
redis.call('HSET', KEYS[10], claim, packed)
redis.call('ZADD', KEYS[9], due, claim)
redis.call('ZADD', KEYS[5], 'LT', due, ARGV[4])
return {now, epoch, seq, packed}
