-- Claims a slot of the first of some agents that can be claimed still. Whether one can is judged
-- elsewhere: here it must be as it was then, and neither its lease nor its state have run out.
-- Batch = {token, holder, by, note, ttl, bound, {agent, epoch, seq, inst, ...}}; epoch and seq: of
-- the record that was judged. Answers {now, epoch, gap, fence, agent, why, record or '', {leases}, ...}
-- of each that was tried; why: '' it is claimed, and the last; 'altered'; 'late': time has gone on.
local token, holder, by, note, ttl, bound, tried = unpack(cmsgpack.unpack(ARGV[5]))
local names = {}
for k = 1, #tried, 4 do names[#names + 1] = tried[k] end
load(names)

local out = {now, epoch, redis.call('HGET', KEYS[8], 'gap') or '0', 0}

local function answer(name, why, packed)
  local rec, members, leases = recs[name], {}, {}
  for i, x in ipairs(rec[INSTS]) do members[i] = name .. SEP .. x[NAME] .. SEP .. x[SESSION] end
  if #members > 0 then leases = redis.call('ZMSCORE', KEYS[3], unpack(members)) end
  out[#out + 1], out[#out + 2], out[#out + 3], out[#out + 4] = name, why, packed, leases
end

-- Until when the lease runs on which it can be claimed; nothing while it cannot.
local function lease_of(rec, name, inst)
  local x = find(rec, inst)
  local rank, ranks = rank_of(rec)
  if not x or rank ~= rec[RANK] or ranks ~= rec[RANKS] then return end
  local ends = tonumber(redis.call('ZSCORE', KEYS[3], name .. SEP .. inst .. SEP .. x[SESSION]) or 0)
  return ends > now and ends or nil
end

local function take(name, inst, lease)
  local fence = math.max(tonumber(redis.call('HGET', KEYS[1], 'fence') or 0) + 1, now)
  local claim, ends = token .. '@' .. name, now + ttl
  local rec = recs[name]
  table.insert(rec[CLAIMS], {token, inst})
  tell(name, find(rec, inst), 'assigned', {claim, by, note, fence, ends})
  local due = bound and math.min(ends, now + rules[7]) or ends
  local nxt = settle(name, true, '', '', lease)
  redis.call('HSET', KEYS[1], 'fence', string.format('%d', fence))
  redis.call('HSET', KEYS[10], claim, cmsgpack.pack({inst, holder, by, note, fence, ttl, now, ends, bound}))
  redis.call('ZADD', KEYS[9], string.format('%d', due), claim)
  redis.call('ZADD', KEYS[5], 'LT', string.format('%d', math.min(due, nxt or due)), ARGV[4])
  return fence
end

for k = 1, #tried, 4 do
  local name, inst = tried[k], tried[k + 3]
  local rec = recs[name]
  local lease = lease_of(rec, name, inst)
  if rec[RANK] == NONE or tried[k + 1] ~= epoch or tried[k + 2] ~= rec[SEQ] then
    answer(name, 'altered', rec[RANK] == NONE and '' or cmsgpack.pack(rec))
  elseif not lease then
    answer(name, 'late', cmsgpack.pack(rec))
  else
    out[4] = take(name, inst, lease)
    answer(name, '', body[name])
    break
  end
end
flush()
return out
