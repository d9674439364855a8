#!lua flags=allow-oom
-- Notes that the service is there, and answers what is due. KEYS 1 part  2 due
-- ARGV 1 now in ms, or ''  2 longest silence that is no gap, ms  3 limit
-- A silence, a clock that went back or another server opens a gap: from then on a lease ends no
-- sooner than one full ttl later. Where nobody has served yet there is no lease that could have
-- been missed. Answers {now, gap, held, project, when, ...}; held: when the last lease ends that the
-- sweep held on.
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local part = redis.call('HMGET', KEYS[1], 'last', 'run', 'gap', 'held')
local last, gap, held = tonumber(part[1] or 0), tonumber(part[3] or 0), tonumber(part[4] or 0)
local back = part[1] and now < last - 1000
if part[1] and (part[2] ~= run or now - last > tonumber(ARGV[2]) or back) then gap = now end
redis.call('HSET', KEYS[1], 'last', string.format('%d', now), 'run', run, 'gap', string.format('%d', gap))
if back then
  -- Whatever the former clock had planned lies too far ahead now: each project is to be looked at.
  held = 0
  redis.call('HSET', KEYS[1], 'back', string.format('%d', now), 'held', '0')
  for _, project in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    redis.call('ZADD', KEYS[2], 'LT', string.format('%d', now), project)
  end
end
local out = {now, gap, held}
for _, value in ipairs(redis.call('ZRANGE', KEYS[2], 0, tonumber(ARGV[3]) - 1, 'WITHSCORES')) do
  out[#out + 1] = value
end
return out
