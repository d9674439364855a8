#!lua flags=no-writes
-- Tells which documents of a partition are due. KEYS 1 agenda
-- ARGV 1 now in ms, or ''  2 limit  3 what the keys of documents begin with
-- Answers {now, when the next one is due or 0, member, due, row or false, ...}; member: kind,
-- project, id.
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local moment = string.format('%d', now)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', moment, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local later = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. moment, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local next_ = later[2] and tonumber(later[2]) or 0
if #due == 2 * tonumber(ARGV[2]) then next_ = now end
local out = {now, next_}
for i = 1, #due, 2 do
  local kind, project, id = string.match(due[i], '^([^\31]*)\31([^\31]*)\31(.*)$')
  out[#out + 1] = due[i]
  out[#out + 1] = tonumber(due[i + 1])
  out[#out + 1] = redis.call('HGET', ARGV[3] .. project .. ':' .. kind, id)
end
return out
