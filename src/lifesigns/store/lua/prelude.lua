-- What every script on one project in one partition begins with.
-- KEYS 1 meta  2 agents  3 live  4 log  5 due  6 turn  7 gone  8 part  9 claims  10 terms
-- ARGV 1 now in ms, or '' for the server's clock  2 rules (packed)  3 channel  4 project  5 batch (packed)
--
-- rules  {kinds: one letter for each old rank x 10 + new rank, log_ms, keep_ms, inbox,
--         past_len, lives_len, held_ms, most_instances}
-- record {seq, at, rank, since, up, down, why, text, ranks, last, fences, instances, claims,
--         override, freed, rest}
--        claims: {token, inst} each. override: {rank, why, until or 0}, or false. freed: when the
--        last claim ended, or 0. rest: {due, until, failed, runs, broken}, or false: it is woken
--        when a run is due, and sleeps until then if it is gone as it should, for the last run did
--        not fail, and its last life did not break off with runs open.
-- inst   {name, session, start, n, rev, ttl, why, pairs, heard, said, progressed, worded, blob, slots}
--        pairs: {from, rank, ...}, its own word first; a later one from 0 is a condition from outside.
--        heard .. worded count from start; heard is false while the lease tells it. A lease that
--        the sweep holds ends at half a ms, and tells nothing.
-- terms  {inst, holder, by, note, fence, ttl, begun, ends, bound}
--        bound: the claim ends held_ms after the last sign of its holder's socket.
-- change pack{seq, at, kind, was, agent, lasted, ends} .. record; ends: of the lease it is about, or 0
local NONE, DOWN, SLEEPING = 9, 1, 1
local BUSY, AVAILABLE, SERVES = 7, 8, {[5] = true, [7] = true, [8] = true} -- ranks whose slots count
local SEQ, AT, RANK, SINCE, UP, DOWNED, WHY, TEXT, RANKS, LAST, FENCES, INSTS = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
local CLAIMS, OVERRIDE, FREED, REST = 13, 14, 15, 16
local DUE, UNTIL, FAILED, RUNS, BROKEN = 1, 2, 3, 4, 5 -- of a rest
local NAME, SESSION, START, N, REV, TTL, REASON, PAIRS, HEARD, SAID, PROGRESSED, WORDED, BLOB, SLOTS = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14
local HOLDER, BY, TTL_OF, ENDS, BOUND = 2, 3, 6, 8, 9
local SEP = '\31'

local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local rules = cmsgpack.unpack(ARGV[2])
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'last', 'run', 'standing', 'hooks')
local epoch, seq = meta[1], tonumber(meta[2] or 0)
if meta[4] ~= run then
  -- Restarted, failed over or flushed: numbers that were told may come again with other contents.
  epoch = string.format('%x', now) .. string.sub(run, 1, 6)
  redis.call('DEL', KEYS[4])
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'run', run, 'seq', string.format('%d', seq))
end
local at = math.max(now, tonumber(meta[3] or 0)) -- never goes back: it orders the log
local recs, dirty, body, turn, gone, unreadable = {}, {}, {}, {}, {}, {}
local changes, first, moved, inbox, past, lives, ended = {}, seq + 1, {}, {}, {}, {}, {}
local letters, events = {}, {}
local ERROR = 3 -- the rank that is an event by itself

-- What webhooks are to tell, of an agent or of none; where nobody listens it is not even noted.
-- Which changes are wanted stands in meta's hooks, a letter each: see core/webhook.py.
local function event(type_, name, packed)
  if meta[6] then events[#events + 1] = {type_, name, packed} end
end

local function wanted(letter)
  return meta[6] and string.find(meta[6], letter, 1, true)
end

-- A change is noted as it was packed; what it means to those who are told of it, is for Python.
local function event_of_change(letter, name, old, new)
  if wanted(letter) or ((old == ERROR) ~= (new == ERROR) and wanted('e')) then
    event('', name, cmsgpack.pack(epoch) .. changes[#changes])
  end
end

-- An agent that comes while an operator's word stands for all whose names begin like its own.
local function newcomer(name)
  local override = false
  for _, each in ipairs(meta[5] and cmsgpack.unpack(meta[5]) or {}) do
    local prefix, rank, why, until_ms = unpack(each)
    if string.sub(name, 1, #prefix) == prefix and (until_ms == 0 or until_ms > now) then
      override = {rank, why, until_ms}
    end
  end
  return {0, 0, NONE, 0, 0, 0, '', '', '', false, {}, {}, {}, override, 0, false}
end

local function load(names)
  local values = redis.call('HMGET', KEYS[2], unpack(names))
  for i, name in ipairs(names) do
    if recs[name] == nil then
      local read, rec = true, nil
      if values[i] then read, rec = pcall(cmsgpack.unpack, values[i]) end
      if not read or (rec and (type(rec) ~= 'table' or type(rec[INSTS]) ~= 'table' or type(rec[CLAIMS]) ~= 'table')) then
        -- It must not stop all others of its lane: the agent begins anew.
        unreadable[#unreadable + 1], rec = name, nil
      end
      if rec and rec[REST] == nil then rec[REST] = false end -- of a hub before this one
      recs[name] = rec or newcomer(name)
    end
  end
end

local function find(rec, name)
  for i, inst in ipairs(rec[INSTS]) do
    if inst[NAME] == name then return inst, i end
  end
end

-- What an agent says is what its best instance says, the latest on a tie.
local function shown(rec, ranks)
  local best, best_rank = rec[LAST], -1
  for i, inst in ipairs(rec[INSTS]) do
    local rank = tonumber(string.sub(ranks, i, i))
    if rank > best_rank or (rank == best_rank and inst[START] + inst[SAID] > best[START] + best[SAID]) then
      best, best_rank = inst, rank
    end
  end
  return best
end

-- The best instance, an instance being its worst condition; and when that alters by itself. What
-- an operator says stands in place of all that an agent says of itself or fails to say.
local function rank_of(rec)
  local best, ranks, nxt, slots, override = 0, {}, nil, 0, rec[OVERRIDE]
  for i, inst in ipairs(rec[INSTS]) do
    local pairs_, worst = inst[PAIRS], override and override[1] or AVAILABLE
    for k = override and 3 or 1, #pairs_, 2 do
      if pairs_[k] <= now and pairs_[k + 1] < worst and (not override or pairs_[k] == 0) then
        worst = pairs_[k + 1]
      end
    end
    for k = 1, override and 0 or #pairs_, 2 do
      if pairs_[k] > now and pairs_[k + 1] < worst and (not nxt or pairs_[k] < nxt) then nxt = pairs_[k] end
    end
    if worst > best then best = worst end
    if SERVES[worst] then slots = slots + inst[SLOTS] end
    ranks[i] = worst
  end
  if override and override[3] > 0 then nxt = override[3] end
  local rest = rec[REST]
  if rest and #rec[INSTS] == 0 and rest[UNTIL] > now and not rest[FAILED] and not rest[BROKEN] then
    best, nxt = SLEEPING, math.min(nxt or rest[UNTIL], rest[UNTIL])
  end
  if best == AVAILABLE and #rec[CLAIMS] > 0 and #rec[CLAIMS] >= slots then best = BUSY end
  return best, table.concat(ranks), nxt
end

-- Tells an instance something, by the hub that has its socket; the session comes last. Without a
-- socket what there is to say of it lies in the agent's inbox.
local function tell(name, inst, what, more)
  if inst[SESSION] ~= '' then
    local message = {what, ARGV[4], name, inst[NAME], inst[SESSION]}
    if more then table.insert(message, 5, more) end
    inbox[#inbox + 1] = {string.sub(inst[SESSION], 1, 2), message}
  elseif more then
    letters[#letters + 1] = {name, what, cmsgpack.pack(more)}
  end
end

local function find_claim(rec, token)
  for i, claim in ipairs(rec[CLAIMS]) do
    if claim[1] == token then return i end
  end
end

local function parse_claim(claim)
  return string.match(claim, '^([^@]*)@(.*)$')
end

-- Ends a claim; the caller settles.
local function unclaim(name, index, why)
  local rec = recs[name]
  local token, instance = unpack(table.remove(rec[CLAIMS], index))
  local claim, inst = token .. '@' .. name, find(rec, instance)
  ended[#ended + 1], rec[FREED] = claim, at
  if why ~= 'released' and wanted('c') then
    local terms = redis.call('HGET', KEYS[10], claim)
    local by = terms and cmsgpack.unpack(terms)[BY]
    event('claim.lost', name, cmsgpack.pack({claim = claim, agent = name, by = by or '', why = why or 'gone'}))
  end
  if inst then tell(name, inst, 'unassigned', {claim, why}) end
end

-- What ends without anybody's doing: the time of an override, claims on who is not there.
local function outdated(name)
  local rec, news = recs[name], false
  local override = rec[OVERRIDE]
  if override and override[3] > 0 and override[3] <= now then rec[OVERRIDE], news = false, true end
  for i = #rec[CLAIMS], 1, -1 do
    if not find(rec, rec[CLAIMS][i][2]) then
      unclaim(name, i)
      news = true
    end
  end
  return news
end

-- Numbers the transition if there is one, and packs it at once: the next one in this call
-- must not alter what this one says. Answers when there is more to do for this agent, leases aside.
local function settle(name, news, why, text, ends)
  local rec = recs[name]
  local old = rec[RANK]
  news = outdated(name) or news
  if rec[REST] and #rec[INSTS] == 0 and old > DOWN and old ~= NONE then
    rec[REST][BROKEN] = why == 'revoked' or (why ~= 'left' and rec[REST][RUNS] > 0)
  end
  local new, ranks, nxt = rank_of(rec)
  turn[name] = nxt or false
  local letter = string.sub(rules[1], old * 10 + new + 1, old * 10 + new + 1)
  if letter == '=' and (news or ranks ~= rec[RANKS]) then letter = 'u' end
  rec[RANKS] = ranks
  if letter == '=' then
    dirty[name] = true
    return nxt
  end
  local lasted = 0
  if letter == 'o' and rec[DOWNED] > 0 then lasted = at - rec[DOWNED] end
  if letter == 'r' then lasted = at - rec[SINCE] end
  seq = seq + 1
  rec[SEQ], rec[AT] = seq, at
  if old ~= new then
    rec[RANK], rec[SINCE] = new, at
    moved[new] = (moved[new] or 0) + 1
    if old ~= NONE then moved[old] = (moved[old] or 0) - 1 end
    if new <= DOWN then
      gone[name] = at + rules[3]
      if old > DOWN then rec[WHY], rec[TEXT] = why or '', text or '' end -- else as its life ended
      if old > DOWN and old ~= NONE then
        rec[DOWNED] = at
        lives[#lives + 1] = {name, string.format('%d %d', rec[UP], at)}
      end
    elseif old == NONE or old <= DOWN then
      rec[UP], rec[WHY], rec[TEXT], gone[name] = at, '', '', false
    end
  end
  local inst = shown(rec, ranks)
  past[#past + 1] = {name, cmsgpack.pack({epoch, seq, at, letter, old, lasted, new, rec[WHY], rec[TEXT], inst and inst[BLOB] or ''})}
  body[name], dirty[name] = cmsgpack.pack(rec), nil
  changes[#changes + 1] = cmsgpack.pack({seq, at, letter, old, name, lasted, ends or 0}) .. body[name]
  event_of_change(letter, name, old, new)
  return nxt or gone[name] or nil
end

-- When it was heard last, counted from its start. What was noted as a lease was cut or held is
-- older than what the lease tells if that was renewed since.
local function heard_of(inst, ends)
  local told = ends - inst[TTL] - inst[START]
  if inst[HEARD] and ends % 1 > 0 then return inst[HEARD] end
  return math.max(inst[HEARD] or told, told)
end

local function remove(name, index, heard)
  local rec = recs[name]
  local inst = table.remove(rec[INSTS], index)
  inst[HEARD] = heard
  if #rec[INSTS] == 0 then rec[LAST] = inst end
end

-- Keys of one agent's own: of the same partition as the others, by their names.
local function own_key(what, name)
  return string.gsub(KEYS[1], ':meta:', ':' .. what .. ':', 1) .. ':' .. name
end

local function forget(name)
  local rec = recs[name]
  seq = seq + 1
  rec[SEQ], rec[AT] = seq, at
  moved[rec[RANK]] = (moved[rec[RANK]] or 0) - 1
  changes[#changes + 1] = cmsgpack.pack({seq, at, 'g', rec[RANK], name, 0, 0}) .. cmsgpack.pack(rec)
  event_of_change('g', name, rec[RANK], rec[RANK])
  recs[name], dirty[name], body[name], turn[name], gone[name] = nil, nil, nil, false, false
  redis.call('HDEL', KEYS[2], name)
  redis.call('DEL', own_key('past', name), own_key('lives', name), own_key('inbox', name), own_key('tally', name))
  for _, told in ipairs({past, lives}) do -- in this very call, too
    for i = #told, 1, -1 do
      if told[i][1] == name then table.remove(told, i) end
    end
  end
end

local function remember(what, entries, length)
  for _, entry in ipairs(entries) do
    local key = own_key(what, entry[1])
    if redis.call('RPUSH', key, entry[2]) > length then redis.call('LTRIM', key, -length, -1) end
  end
end

local function schedule(key, times)
  local on, off = {}, {}
  for name, t in pairs(times) do
    if t then on[#on + 1] = string.format('%d', t); on[#on + 1] = name else off[#off + 1] = name end
  end
  if #off > 0 then redis.call('ZREM', key, unpack(off)) end
  if #on > 0 then redis.call('ZADD', key, unpack(on)) end
end

-- All that was decided is written here, with arguments that cannot fail: there is no way back.
local function flush()
  local set = {}
  for name in pairs(dirty) do body[name] = cmsgpack.pack(recs[name]) end
  for name, packed in pairs(body) do set[#set + 1] = name; set[#set + 1] = packed end
  if #unreadable > 0 then redis.call('HDEL', KEYS[2], unpack(unreadable)) end
  if #set > 0 then redis.call('HSET', KEYS[2], unpack(set)) end
  for _, claim in ipairs(ended) do
    redis.call('ZREM', KEYS[9], claim)
    redis.call('HDEL', KEYS[10], claim)
  end
  schedule(KEYS[6], turn)
  schedule(KEYS[7], gone)
  for rank, by in pairs(moved) do
    if by ~= 0 then redis.call('HINCRBY', KEYS[1], 'r' .. rank, by) end
  end
  for i, change in ipairs(changes) do
    redis.call('XADD', KEYS[4], 'MINID', '~', string.format('%d', at - rules[2]),
      string.format('%d-%d', at, first + i - 1), 'c', change)
  end
  remember('past', past, rules[5])
  remember('lives', lives, rules[6])
  if #changes > 0 then
    redis.call('HSET', KEYS[1], 'seq', string.format('%d', seq), 'last', string.format('%d', at))
    redis.call('PUBLISH', ARGV[3], cmsgpack.pack({epoch, first, changes}))
  end
  for i, message in ipairs(inbox) do
    redis.call('PUBLISH', rules[4] .. message[1], cmsgpack.pack(message[2]))
  end
  for _, told in ipairs(events) do
    redis.call('XADD', (string.gsub(KEYS[1], ':meta:', ':outbox:', 1)), '*',
      'type', told[1], 'agent', told[2], 'at', string.format('%d', now), 'data', told[3])
  end
  if #events > 0 then -- the outbox is a document, which is due as long as something is in it
    local agenda = string.match(KEYS[1], '^(.*):meta:') .. ':agenda'
    redis.call('ZADD', agenda, 'NX', string.format('%d', now), 'outbox' .. SEP .. ARGV[4] .. SEP)
    redis.call('PUBLISH', rules[4], cmsgpack.pack({'due'}))
  end
  for _, letter in ipairs(letters) do -- kept as those that inbox_add.lua puts there
    local key = own_key('inbox', letter[1])
    redis.call('XADD', key, 'MAXLEN', 1000, '*', 'kind', letter[2], 'details', letter[3])
    redis.call('PEXPIRE', key, 86400000)
    redis.call('PUBLISH', (string.gsub(ARGV[3], ':ch:', ':bell:', 1)), letter[1])
  end
end
