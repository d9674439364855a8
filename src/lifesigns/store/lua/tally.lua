#!lua
-- Counts a beat of an agent, by the day. KEYS 1 the agent's tally
-- ARGV 1 now in ms, or ''  2 how many days are kept
-- Answers how many there were today.
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local day, kept = math.floor(now / 86400000), tonumber(ARGV[2])
local count = redis.call('HINCRBY', KEYS[1], string.format('%d', day), 1)
if count == 1 then -- the first of a day clears away what is too old
  for _, each in ipairs(redis.call('HKEYS', KEYS[1])) do
    if tonumber(each) <= day - kept then redis.call('HDEL', KEYS[1], each) end
  end
end
redis.call('PEXPIRE', KEYS[1], kept * 86400000)
return count
