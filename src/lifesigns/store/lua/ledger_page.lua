#!lua flags=no-writes
-- Lists documents in the order of an index. KEYS 1 documents  2 index
-- ARGV 1 1: the highest score first  2 after which document, or ''  3 how many to skip  4 limit
-- Answers {how many there are, score, id, row, ...}; a document that is not there is skipped.
local newest, after = ARGV[1] == '1', ARGV[2]
local start = tonumber(ARGV[3])
if after ~= '' then
  local rank = redis.call(newest and 'ZREVRANK' or 'ZRANK', KEYS[2], after)
  if not rank then return {redis.call('ZCARD', KEYS[2])} end
  start = start + rank + 1
end
local found = redis.call(newest and 'ZREVRANGE' or 'ZRANGE', KEYS[2],
  start, start + tonumber(ARGV[4]) - 1, 'WITHSCORES')
local out, ids = {redis.call('ZCARD', KEYS[2])}, {}
for i = 1, #found, 2 do ids[#ids + 1] = found[i] end
if #ids == 0 then return out end
for i, row in ipairs(redis.call('HMGET', KEYS[1], unpack(ids))) do
  if row then
    out[#out + 1], out[#out + 2], out[#out + 3] = found[i * 2], ids[i], row
  end
end
return out
