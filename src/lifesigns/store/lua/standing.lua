#!lua
-- What an operator says of all agents of a prefix, those who come later too: it stands in the lane,
-- and the prelude gives it to newcomers. KEYS 1 meta
-- ARGV 1 now in ms, or ''  2 prefix  3 rank, -1: nothing any more  4 why  5 until in ms, or 0
--      6 how many may stand. Answers 1, or 0: there are too many.
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local packed = redis.call('HGET', KEYS[1], 'standing')
local standing = {}
for _, each in ipairs(packed and cmsgpack.unpack(packed) or {}) do
  if each[1] ~= ARGV[2] and (each[4] == 0 or each[4] > now) then standing[#standing + 1] = each end
end
if tonumber(ARGV[3]) >= 0 then
  if #standing >= tonumber(ARGV[6]) then return 0 end
  standing[#standing + 1] = {ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])}
end
table.sort(standing, function(a, b) return #a[1] < #b[1] end) -- the longest counts: it comes last
if #standing > 0 then
  redis.call('HSET', KEYS[1], 'standing', cmsgpack.pack(standing))
else
  redis.call('HDEL', KEYS[1], 'standing')
end
return 1
