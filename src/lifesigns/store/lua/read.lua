#!lua flags=no-writes
-- Reads agents as they are now. KEYS 1 meta  2 agents  3 live  4 part
-- ARGV 1 now in ms, or ''  2.. agents. Answers {now, epoch, gap, record or false, {leases}, ...}.
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local out = {now, redis.call('HGET', KEYS[1], 'epoch') or '', redis.call('HGET', KEYS[4], 'gap') or '0'}
local values = redis.call('HMGET', KEYS[2], unpack(ARGV, 2))
for i, value in ipairs(values) do
  local leases = {}
  if value then
    local insts = cmsgpack.unpack(value)[12]
    if #insts > 0 then
      local members = {}
      for k, x in ipairs(insts) do members[k] = ARGV[i + 1] .. '\31' .. x[1] .. '\31' .. x[2] end
      leases = redis.call('ZMSCORE', KEYS[3], unpack(members))
    end
  end
  out[#out + 1] = value
  out[#out + 1] = leases
end
return out
