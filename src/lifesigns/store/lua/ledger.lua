-- Writes documents, and what is to be told of it, in steps: each is done whole or not at all.
-- Batch = list of {writes, events, more or false}
--   write {kind, id, expect, due or 0, {index, score, ...}, body}
--         expect: the version on which it was judged; 0: there was none, -1: whatever there is.
--         body: opaque; false drops the document.
--   event {type, agent or '', data, opaque}
--   more  {rests, tells, rings, counts}
--         rest {agent, kind, index of what is due, kind, index of runs, allowance, failed, blob}:
--         what the lists tell of its schedules makes it sleep. failed: 1 the last run, 0 not, -1 is
--         left as it is. blob: the words of one that was never seen.
--         tell {hub, message, opaque}. ring: for whom a bell is rung. count {name, field, by, kept ms}
-- row {version, due, {index, ...}, body}
-- A version is never given twice to one id: it counts on from the clock.
-- Answers {now, epoch, {version, ...}, ...}: of each step its versions, none if it was altered.
local tag, project = string.match(KEYS[1], '^(.*):meta:(.*)$')
local agenda = tag .. ':agenda'
local told_hubs, rung, turns = {}, {}, nil

local function docs_key(kind)
  return tag .. ':docs:' .. project .. ':' .. kind
end

local function index_key(kind, index)
  return tag .. ':index:' .. project .. ':' .. kind .. ':' .. index
end

local function judge(writes)
  local rows = {}
  for i, write in ipairs(writes) do
    local packed = redis.call('HGET', docs_key(write[1]), write[2])
    local row = packed and cmsgpack.unpack(packed)
    if write[3] >= 0 and write[3] ~= (row and row[1] or 0) then return nil end
    rows[i] = row or {0, 0, {}}
  end
  return rows
end

local function set(write, row)
  local kind, id, _, due, indexes, content = unpack(write)
  local version = math.max(row[1] + 1, now)
  local member = kind .. SEP .. project .. SEP .. id
  local kept = {}
  for i = 1, content and #indexes or 0, 2 do kept[indexes[i]] = indexes[i + 1] end
  for _, index in ipairs(row[3]) do
    if not kept[index] then redis.call('ZREM', index_key(kind, index), id) end
  end
  local names = {}
  for index, score in pairs(kept) do
    redis.call('ZADD', index_key(kind, index), string.format('%.17g', score), id)
    names[#names + 1] = index
  end
  if content and due > 0 then
    redis.call('ZADD', agenda, string.format('%d', due), member)
  elseif row[2] > 0 then
    redis.call('ZREM', agenda, member)
  end
  if content then
    redis.call('HSET', docs_key(kind), id, cmsgpack.pack({version, due, names, content}))
    redis.call('SADD', tag .. ':kinds:' .. project, kind)
  else
    redis.call('HDEL', docs_key(kind), id)
  end
  return version
end

-- Lets an agent sleep until its next run is due, or not.
local function rest(name, kind, dues, run_kind, runs, allowance, failed, blob)
  load({name})
  local rec, first = recs[name], redis.call('ZRANGE', index_key(kind, dues), 0, 0, 'WITHSCORES')
  local due = tonumber(first[2] or 0)
  if rec[RANK] == NONE then
    if due == 0 then return end
    rec[LAST], rec[DOWNED] = {'-', '', 0, 0, 0, 0, '', {0, AVAILABLE}, 0, 0, 0, 0, blob, 1}, at
  end
  local was = rec[REST] or {0, 0, false, 0, rec[WHY] == 'revoked'}
  if failed < 0 then failed = was[FAILED] else failed = failed == 1 end
  local open = redis.call('ZCARD', index_key(run_kind, runs))
  rec[REST] = {due, due > 0 and due + allowance or 0, failed, open, was[BROKEN]}
  local nxt = settle(name, due ~= was[DUE])
  if nxt and (not turns or nxt < turns) then turns = nxt end
end

local function do_more(rests, tells, rings, counts)
  for _, each in ipairs(rests) do rest(unpack(each)) end
  for _, told in ipairs(tells) do told_hubs[#told_hubs + 1] = told end
  for _, name in ipairs(rings) do rung[name] = true end
  for _, each in ipairs(counts) do
    local key = string.gsub(KEYS[1], ':meta:', ':counts:', 1) .. ':' .. each[1]
    redis.call('HINCRBYFLOAT', key, each[2], each[3])
    redis.call('PEXPIRE', key, string.format('%d', each[4]))
  end
end

local out = {now, epoch}
for _, step in ipairs(cmsgpack.unpack(ARGV[5])) do
  local rows, versions = judge(step[1]), {}
  if rows then
    for i, write in ipairs(step[1]) do versions[i] = set(write, rows[i]) end
    for _, told in ipairs(step[2]) do event(unpack(told)) end
    if step[3] then do_more(unpack(step[3])) end
  end
  out[#out + 1] = versions
end
flush()
if turns then redis.call('ZADD', KEYS[5], 'LT', string.format('%d', turns), ARGV[4]) end
for _, told in ipairs(told_hubs) do redis.call('PUBLISH', rules[4] .. told[1], told[2]) end
for name in pairs(rung) do
  redis.call('PUBLISH', (string.gsub(ARGV[3], ':ch:', ':bell:', 1)), name)
end
return out
