-- Writes documents, and what is to be told of it, in steps: each is done whole or not at all.
-- Batch = list of {writes, events}
--   write {kind, id, expect, due or 0, {index, score, ...}, body}
--         expect: the version on which it was judged; 0: there was none, -1: whatever there is.
--         body: opaque; false drops the document.
--   event {type, agent or '', data, opaque}
-- row {version, due, {index, ...}, body}
-- A version is never given twice to one id: it counts on from the clock.
-- Answers {now, epoch, {version, ...}, ...}: of each step its versions, none if it was altered.
local tag, project = string.match(KEYS[1], '^(.*):meta:(.*)$')
local agenda = tag .. ':agenda'

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

local out = {now, epoch}
for _, step in ipairs(cmsgpack.unpack(ARGV[5])) do
  local rows, versions = judge(step[1]), {}
  if rows then
    for i, write in ipairs(step[1]) do versions[i] = set(write, rows[i]) end
    for _, told in ipairs(step[2]) do event(unpack(told)) end
  end
  out[#out + 1] = versions
end
flush()
return out
