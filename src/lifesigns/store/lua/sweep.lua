-- Ends what has run out: leases, states that alter by themselves, agents gone for long.
-- Batch = {limit, safe, hist_len}; safe: no hub holds an unwritten beat for a lease that ends
-- before. Answers {now, leases ended, turns, forgotten, when to come again or 0}.
local batch = cmsgpack.unpack(ARGV[5])
local limit, safe = batch[1], batch[2]
local horizon = math.min(now, safe)
local gap = tonumber(redis.call('HGET', KEYS[8], 'gap') or 0)

local ended = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('%d', horizon), 'WITHSCORES', 'LIMIT', 0, limit)
local who, names, out, hold = {}, {}, {}, {}
for i = 1, #ended, 2 do
  local agent, inst, session = string.match(ended[i], '^([^\31]*)\31([^\31]*)\31(.*)$')
  who[#who + 1] = {agent, inst, session, ended[i], tonumber(ended[i + 1])}
  names[#names + 1] = agent
end
if #names > 0 then
  load(names)
  for _, w in ipairs(who) do
    local agent, inst, session, member, score = unpack(w)
    local x, index = find(recs[agent], inst)
    if not x or x[SESSION] ~= session then
      out[#out + 1] = member -- a lease without its instance: nothing speaks for it
    elseif gap + x[TTL] > horizon and gap + x[TTL] > score then
      -- The service was away: whoever could not beat meanwhile has one full lease to come back.
      hold[#hold + 1] = string.format('%d', gap + x[TTL])
      hold[#hold + 1] = member
    else
      out[#out + 1] = member
      remove(agent, index, score - x[TTL])
      settle(agent, true, x[REASON] ~= '' and x[REASON] or 'expired')
    end
  end
end

local turned = redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', string.format('%d', now), 'LIMIT', 0, limit)
if #turned > 0 then
  load(turned)
  for _, name in ipairs(turned) do
    if recs[name][RANK] ~= NONE then settle(name, false) else turn[name] = false end
  end
end

local old = redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', string.format('%d', now), 'LIMIT', 0, limit)
local forgotten = 0
if #old > 0 then
  load(old)
  for _, name in ipairs(old) do
    if recs[name][RANK] <= DOWN then
      forget(name)
      forgotten = forgotten + 1
    else
      gone[name] = false
    end
  end
end

if #out > 0 then redis.call('ZREM', KEYS[3], unpack(out)) end
if #hold > 0 then redis.call('ZADD', KEYS[3], 'XX', unpack(hold)) end
flush()
if #changes > 0 then redis.call('XTRIM', KEYS[4], 'MAXLEN', '~', batch[3]) end

local again = nil
for i = 1, 3 do
  local key = i == 1 and KEYS[3] or i == 2 and KEYS[6] or KEYS[7]
  local t = tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
  if t and (not again or t < again) then again = t end
end
if again then
  redis.call('ZADD', KEYS[5], string.format('%d', again), ARGV[4])
else
  redis.call('ZREM', KEYS[5], ARGV[4])
end
return {now, #out, #turned, forgotten, again or 0}
