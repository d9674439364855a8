#!lua
-- Takes the turn to sample, renews it, or gives it back. KEYS 1 sampler
-- ARGV 1 node  2 for how long, ms; 0: not any more
-- Answers 1 if it is this node's now.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
