#!lua flags=no-writes
-- Reads a page of all agents. KEYS 1 meta  2 agents  3 live  4 part
-- ARGV 1 now in ms, or ''  2 cursor  3 count
-- Answers {now, epoch, gap, next cursor, seq, at, agent, record, {leases}, ...}; an agent may come
-- twice. seq and at: the last change that the page has for sure.
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'last')
local page = redis.call('HSCAN', KEYS[2], ARGV[2], 'COUNT', ARGV[3])
local gap = redis.call('HGET', KEYS[4], 'gap') or '0'
local out = {now, meta[1] or '', gap, page[1], meta[2] or '0', meta[3] or '0'}
for i = 1, #page[2], 2 do
  local name, value = page[2][i], page[2][i + 1]
  local insts, leases = cmsgpack.unpack(value)[12], {}
  if #insts > 0 then
    local members = {}
    for k, x in ipairs(insts) do members[k] = name .. '\31' .. x[1] .. '\31' .. x[2] end
    leases = redis.call('ZMSCORE', KEYS[3], unpack(members))
  end
  out[#out + 1], out[#out + 2], out[#out + 3] = name, value, leases
end
return out
