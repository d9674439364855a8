-- Applies, in their order, what instances said. Batch = list of
--   {'w', agent, inst, session, age, n, rev, ttl, started, expect, pairs, progressed, worded, blob, want,
--    slots, quiet}
--        words. started: age of the session's hello if this is one, else -1. expect: the record's
--        seq on which an HTTP beat was judged, else -1; its n and rev are then the instance's as
--        judged. Times are ages; pairs count from arrival, 0 is ever. progressed, worded: -1 keeps
--        what is stored. want: answer the record. quiet: 1 if nothing that is shown differs from the
--        words before, as far as those are known here. An HTTP beat with a ttl of -1 is no sign of
--        life: it says for one without a session what somebody else has made of it.
--   {'l', agent, inst, session, age, why, text, fence}
--        it leaves. An empty inst is all of them, an empty session whichever has it.
--        fence: sessions that began before now may not come back.
--   {'m', agent, inst, session, rank, why, ms, age}
--        a condition from outside, such as a broken socket, that cuts the lease. age: since it was
--        heard last, which may not have come to the store.
--   {'c', agent, inst, session, age, ms}
--        its hub goes: it was heard of then, and has so long to come to another one.
--   {'o', agent, rank, why, until}
--        an operator's word stands in place of its own, until then or, if 0, until further notice;
--        a rank of -1 takes it back.
-- ARGV 6 when the call left its hub, as that reckons the store's clock, or nothing.
-- Answers {now, epoch, {code, seq, record or ''} ...} flat; a hello of who is claimed is answered the
-- record, too. Codes: 0 done, 1 an older session,
-- 2 not the session here, 3 stored before, 4 altered meanwhile (with the record), 5 the agent has as
-- many instances as it may.
local batch = cmsgpack.unpack(ARGV[5])
local names, add, grow, cut, drop, due = {}, {}, {}, {}, {}, nil
for i, entry in ipairs(batch) do names[i] = entry[2] end
load(names)

-- A hello that was long under way began by so much earlier than its age says: it must not pass for
-- younger than a session that overtook it. What differs by less may be the reckoning, by more the clock.
local late = now - (tonumber(ARGV[6]) or now)
if late < 250 or late > 10000 then late = 0 end

local function lower(t)
  if t and (not due or t < due) then due = t end
end

local function lease(member, ends) -- of several in one batch the last counts
  add[member], grow[member], cut[member], drop[member] = ends, nil, nil, nil
  lower(ends)
end

local function lengthen(member, ends)
  if add[member] then
    add[member] = math.max(add[member], ends)
  elseif cut[member] and cut[member] <= ends then
    lease(member, ends)
  else
    grow[member] = math.max(grow[member] or ends, ends)
  end
end

local function unlease(name, inst)
  local member = name .. SEP .. inst[NAME] .. SEP .. inst[SESSION]
  add[member], grow[member], cut[member], drop[member] = nil, nil, nil, true
end

local function ends_of(member)
  if add[member] then return add[member] end
  local ends = tonumber(redis.call('ZSCORE', KEYS[3], member) or now)
  return math.min(math.max(ends, grow[member] or ends), cut[member] or math.huge)
end

-- An instance was heard of. What comes late shortens nothing: a later sign counts for it, and a lease
-- that was lengthened stays, if by the last sign it would be over. Answers when the lease ends.
local function hear(x, member, heard, ttl)
  local known = ends_of(member)
  local last = math.min(math.max(heard_of(x, known), heard - x[START]), now - x[START])
  local ends = x[START] + last + ttl
  x[TTL], x[HEARD] = ttl, false
  if known % 1 > 0 and ends <= now then
    x[HEARD], ends = last, known
  else
    lease(member, ends)
  end
  return ends
end

-- What lies in the future was noted before the clock went back, and orders nothing any more.
local function before(start, other)
  return start < other and other <= now
end

local function fenced(name, rec, inst, start)
  if rec[RANK] == NONE then -- perhaps it was forgotten
    local fence = tonumber(redis.call('GET', own_key('fence', name)) or 0)
    if before(start, fence) then return true end
  end
  for _, fence in ipairs(rec[FENCES]) do
    if (fence[1] == '' or fence[1] == inst) and before(start, fence[2]) then return true end
  end
end

local function write(entry)
  local _, name, inst, session, age, n, rev, ttl, started, expect, stairs, progressed, worded, blob, _, slots, quiet = unpack(entry)
  local rec = recs[name]
  local cur = find(rec, inst)
  local heard = now - age
  local hello, http, living = started >= 0, expect >= 0, ttl >= 0
  local start = hello and now - late - started or heard
  local same = cur and cur[SESSION] == session
  if hello then
    if fenced(name, rec, inst, start) or (cur and not same and before(start, cur[START])) then return 1 end
    if same and n <= cur[N] then return 3 end
  elseif http then
    if rec[SEQ] ~= expect or (cur and (n ~= cur[N] or rev ~= cur[REV])) then return 4 end
    if not living and not (cur and cur[SESSION] == '') then return 2 end
  else
    if not same then return 2 end
    if n <= cur[N] then return 3 end
    if rev ~= cur[REV] then return 4 end
  end
  if not cur and #rec[INSTS] >= rules[8] then return 5 end
  local pairs_ = {}
  for k = 1, #stairs, 2 do
    pairs_[k] = stairs[k] == 0 and 0 or heard + stairs[k]
    pairs_[k + 1] = stairs[k + 1]
  end
  local news = not cur or (cur[BLOB] ~= blob and quiet ~= 1)
  local x
  if cur and (http or same) then
    x = cur
  else
    if cur then unlease(name, cur); tell(name, cur, 'superseded') end
    x = {inst, session, start, 0, 0, ttl, '', {}, false, 0, 0, 0, '', 1}
    if cur then
      local _, index = find(rec, inst)
      rec[INSTS][index] = x
    else
      table.insert(rec[INSTS], x)
    end
  end
  local member = name .. SEP .. inst .. SEP .. x[SESSION]
  local ends = heard + ttl
  if http and x[SESSION] ~= '' then
    ends = heard + x[TTL] -- the lease is its session's
    lengthen(member, ends)
    x[REV] = x[REV] + 1
    x[HEARD] = x[HEARD] and math.max(x[HEARD], heard - x[START])
    tell(name, x, 'altered')
  elseif not living then
    x[N], ends = n + 1, ends_of(member)
  else
    x[N] = http and n + 1 or n
    if x == cur then ends = hear(x, member, heard, ttl) else lease(member, ends) end
  end
  if living then x[REASON] = '' end
  x[PAIRS], x[BLOB], x[SLOTS] = pairs_, blob, slots or 1
  if news then x[SAID] = heard - x[START] end
  if progressed >= 0 then x[PROGRESSED] = heard - progressed - x[START] end
  if worded >= 0 then x[WORDED] = heard - worded - x[START] end
  rec[LAST] = false
  lower(settle(name, news, '', '', math.floor(ends)))
  return 0
end

local function leave(entry)
  local _, name, inst, session, age, why, text, fence = unpack(entry)
  local rec = recs[name]
  local found = false
  for i = #rec[INSTS], 1, -1 do
    local x = rec[INSTS][i]
    if (inst == '' or x[NAME] == inst) and (session == '' or x[SESSION] == session) then
      found = true
      local heard = now - age - x[START]
      if session == '' then -- it did not say so itself
        heard = heard_of(x, ends_of(name .. SEP .. x[NAME] .. SEP .. x[SESSION]))
        tell(name, x, 'left')
      end
      unlease(name, x)
      remove(name, i, heard)
    end
  end
  if fence == 1 and rec[RANK] ~= NONE then
    local kept = {{inst, now}} -- the latest first, and not too many: each beat carries them all
    for _, f in ipairs(rec[FENCES]) do
      if inst ~= '' and f[1] ~= inst and now - f[2] < 86400000 and #kept < 32 then kept[#kept + 1] = f end
    end
    rec[FENCES], dirty[name] = kept, true
  end
  if not found then return 2 end
  lower(settle(name, true, why, text))
  return 0
end

local function mark(entry)
  local _, name, inst, session, rank, why, ms, age = unpack(entry)
  local x = find(recs[name], inst)
  if not x or x[SESSION] ~= session then return 2 end
  local member = name .. SEP .. inst .. SEP .. session
  local stairs = x[PAIRS]
  stairs[#stairs + 1], stairs[#stairs + 2] = 0, rank
  local known, told = ends_of(member), now - age + x[TTL]
  x[REASON] = why
  x[HEARD] = math.max(heard_of(x, known), now - age - x[START])
  lengthen(member, told)
  local most = now + ms
  if known % 1 > 0 and known > told then most = most - 0.75 end -- as little as before it tells
  if add[member] then add[member] = math.min(add[member], most) else cut[member] = most end
  lower(now + ms)
  lower(settle(name, false, '', '', now + ms))
  return 0
end

local carried = {}
local function carry(entry)
  local _, name, inst, session, age, ms = unpack(entry)
  local x = find(recs[name], inst)
  if not x or x[SESSION] ~= session then return 2 end
  local member = name .. SEP .. inst .. SEP .. session
  local ends = ends_of(member)
  if ends < now + ms then
    x[HEARD] = math.max(heard_of(x, ends), now - age - x[START])
    carried[member], dirty[name] = now + ms, true
  end
  return 0
end

local function override(entry)
  local _, name, rank, why, until_ms = unpack(entry)
  local rec = recs[name]
  if rec[RANK] == NONE then return 2 end
  local former, given = rec[OVERRIDE], rank >= 0 and {rank, why, until_ms}
  rec[OVERRIDE] = given
  local same = former == given or (former and given and table.concat(former, SEP) == table.concat(given, SEP))
  lower(settle(name, not same))
  return 0
end

local acts = {w = write, l = leave, m = mark, c = carry, o = override}
local answers = {now, epoch}
for i, entry in ipairs(batch) do
  local code = acts[entry[1]](entry)
  local rec = recs[entry[2]]
  local k = i * 3
  answers[k], answers[k + 1], answers[k + 2] = code, rec[SEQ], ''
  if code == 4 or entry[15] == 1 or (#rec[CLAIMS] > 0 and entry[1] == 'w' and entry[9] >= 0) then
    if rec[RANK] ~= NONE then answers[k + 2] = cmsgpack.pack(rec) end
  end
end
for name in pairs(dirty) do
  if recs[name][RANK] == NONE then dirty[name], turn[name] = nil, nil end
end

local function zadd(scores, how)
  local z = {}
  for m, t in pairs(scores) do z[#z + 1] = string.format(t % 1 > 0 and '%.2f' or '%d', t); z[#z + 1] = m end
  if #z == 0 then return end
  if how then redis.call('ZADD', KEYS[3], 'XX', how, unpack(z)) else redis.call('ZADD', KEYS[3], unpack(z)) end
end
local z = {}
for m in pairs(drop) do z[#z + 1] = m end
if #z > 0 then redis.call('ZREM', KEYS[3], unpack(z)) end
zadd(add)
zadd(grow, 'GT')
zadd(cut, 'LT')
for member, ends in pairs(carried) do -- as lose.lua lengthens: such a lease tells nothing
  redis.call('ZADD', KEYS[3], 'XX', string.format('%d.25', ends), member)
end
flush()
if due then redis.call('ZADD', KEYS[5], 'LT', string.format('%d', due), ARGV[4]) end
return answers
