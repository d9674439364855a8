-- Ends what has run out: leases, states that alter by themselves, claims, agents gone for long.
-- Batch = {limit, safe, hist_len}; safe: no hub holds an unwritten beat for a lease that ends
-- before. Answers {now, leases ended, turns, forgotten, when to come again or 0, {agents}}; of
-- those the records could not be read, and were dropped.
-- Part: gap; held: when the last lease ends that was held on; back: when the clock last went back.
-- What the former clock had promised is cut to one ttl from then, page by page; meta's clip and
-- clip_claims say how far that is: '<back> <cursor>'.
local batch = cmsgpack.unpack(ARGV[5])
local limit, safe = batch[1], batch[2]
local horizon = math.min(now, safe)
local part = redis.call('HMGET', KEYS[8], 'gap', 'back', 'held')
local gap, back, held = tonumber(part[1] or 0), part[2], tonumber(part[3] or 0)
local hold = {}

local function parse(member, ends)
  local agent, inst, session = string.match(member, '^([^\31]*)\31([^\31]*)\31(.*)$')
  return {agent, inst, session, member, tonumber(ends)}
end

-- Nobody is heard by this: when it was, is noted first.
local function hold_on(agent, x, member, heard)
  x[HEARD], dirty[agent] = heard, true
  hold[#hold + 1] = string.format('%d.5', gap + x[TTL] - 1)
  held = math.max(held, gap + x[TTL])
  hold[#hold + 1] = member
end

local clips, clipping = {}, false

-- The next page of what may have been promised before the clock went back.
local function promised(key, field)
  local begun, cursor = string.match(redis.call('HGET', KEYS[1], field) or '', '^(%d+) (%w+)$')
  if begun ~= back then cursor = '0' end
  if cursor == 'done' then return {} end
  local page = redis.call('ZSCAN', key, cursor, 'COUNT', limit)
  local over = page[1] == '0'
  clipping = clipping or not over
  clips[#clips + 1], clips[#clips + 2] = field, back .. ' ' .. (over and 'done' or page[1])
  return page[2]
end

local function clip_leases()
  local page, names = promised(KEYS[3], 'clip'), {}
  for i = 1, #page, 2 do names[#names + 1] = parse(page[i])[1] end
  if #names > 0 then load(names) end
  for i = 1, #page, 2 do
    local agent, inst, session, member, ends = unpack(parse(page[i], page[i + 1]))
    local x = find(recs[agent], inst)
    if x and x[SESSION] == session and ends > now + x[TTL] then
      hold_on(agent, x, member, math.min(heard_of(x, ends), back - x[START]))
    end
  end
end

local function clip_claims()
  local page = promised(KEYS[9], 'clip_claims')
  for i = 1, #page, 2 do
    local claim, due = page[i], tonumber(page[i + 1])
    local packed = redis.call('HGET', KEYS[10], claim)
    local terms = packed and cmsgpack.unpack(packed)
    if terms and terms[ENDS] > now + terms[TTL_OF] then
      terms[ENDS] = now + terms[TTL_OF]
      redis.call('HSET', KEYS[10], claim, cmsgpack.pack(terms))
    end
    local most = terms and (terms[BOUND] and math.min(terms[ENDS], now + rules[7]) or terms[ENDS])
    if most and due > most then redis.call('ZADD', KEYS[9], string.format('%d', most), claim) end
  end
end

if back then
  clip_leases()
  clip_claims()
end

local ended = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('%d', horizon), 'WITHSCORES', 'LIMIT', 0, limit)
local who, names, out = {}, {}, {}
for i = 1, #ended, 2 do
  who[#who + 1] = parse(ended[i], ended[i + 1])
  names[#names + 1] = who[#who][1]
end
if #names > 0 then
  load(names)
  for _, w in ipairs(who) do
    local agent, inst, session, member, ends = unpack(w)
    local x, index = find(recs[agent], inst)
    if not x or x[SESSION] ~= session then
      out[#out + 1] = member -- a lease without its instance: nothing speaks for it
    elseif gap + x[TTL] > horizon then
      -- The service was away: whoever could not beat meanwhile has one full lease to come back.
      hold_on(agent, x, member, heard_of(x, ends))
    else
      out[#out + 1] = member
      remove(agent, index, heard_of(x, ends))
      settle(agent, true, x[REASON] ~= '' and x[REASON] or 'expired')
    end
  end
end

local turned = redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', string.format('%d', horizon), 'LIMIT', 0, limit)
if #turned > 0 then
  load(turned)
  for _, name in ipairs(turned) do
    local rest = recs[name][REST]
    if recs[name][RANK] == NONE then
      turn[name] = false
    elseif recs[name][RANK] == SLEEPING and rest and gap + rest[UNTIL] - rest[DUE] > now then
      turn[name] = gap + rest[UNTIL] - rest[DUE] -- nobody could run what was due meanwhile
    else
      settle(name, false)
    end
  end
end

-- A claim ends with its time; one that is bound to a socket, when that stays gone. Where it could
-- not be heard of for a while, that counts from the end of the gap.
local over = redis.call('ZRANGEBYSCORE', KEYS[9], '-inf', string.format('%d', horizon), 'LIMIT', 0, limit)
if #over > 0 then
  local terms, names = redis.call('HMGET', KEYS[10], unpack(over)), {}
  for i, claim in ipairs(over) do
    local _, name = parse_claim(claim)
    names[i] = name
  end
  load(names)
  for i, claim in ipairs(over) do
    local token, name = parse_claim(claim)
    local index = find_claim(recs[name], token)
    local held = terms[i] and cmsgpack.unpack(terms[i])
    if not index then
      ended[#ended + 1] = claim
    elseif held and held[BOUND] and held[ENDS] > now and gap + rules[7] > horizon then
      redis.call('ZADD', KEYS[9], string.format('%d', math.min(held[ENDS], gap + rules[7])), claim)
    else
      unclaim(name, index, (held and held[ENDS] > now) and 'holder_gone' or 'expired')
      settle(name, true)
    end
  end
end

local old = redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', string.format('%d', now), 'LIMIT', 0, limit)
local forgotten = 0
if #old > 0 then
  load(old)
  for _, name in ipairs(old) do
    if recs[name][RANK] == SLEEPING then
      gone[name] = now + rules[3] -- it is expected back, however long that takes
    elseif recs[name][RANK] <= DOWN then
      forget(name)
      forgotten = forgotten + 1
    else
      gone[name] = false
    end
  end
end

if #out > 0 then redis.call('ZREM', KEYS[3], unpack(out)) end
if #hold > 0 then
  redis.call('ZADD', KEYS[3], 'XX', unpack(hold))
  redis.call('HSET', KEYS[8], 'held', string.format('%d', held))
end
if #clips > 0 then redis.call('HSET', KEYS[1], unpack(clips)) end
flush()
redis.call('XTRIM', KEYS[4], 'MAXLEN', '~', batch[3])

local again = clipping and now or nil
for _, key in ipairs({KEYS[3], KEYS[6], KEYS[7], KEYS[9]}) do
  local t = tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
  t = t and math.ceil(t)
  if t and (not again or t < again) then again = t end
end
if again then
  redis.call('ZADD', KEYS[5], string.format('%d', again), ARGV[4])
else
  redis.call('ZREM', KEYS[5], ARGV[4])
end
return {now, #out, #turned, forgotten, again or 0, unreadable}
