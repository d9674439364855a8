#!lua
-- Puts a letter into an agent's inbox, rings for those who wait there and, if asked to, tells the
-- agent's sockets.
-- KEYS 1 the inbox  2 agents
-- ARGV 1 now in ms, or ''  2 agent  3 kind  4 body, opaque  5 most letters  6 how long one is kept
--      7 channel of the bell  8 channel of a hub, without its name; '' tells no socket
--      9 1: whether it was seen or not
-- Answers the letter's number, or false: no such agent was ever seen.
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local agent, kind, body, keep_ms = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[6])
local record = redis.call('HGET', KEYS[2], agent)
if not record and ARGV[9] ~= '1' then return false end
-- The server's own number rises though its clock goes back.
local number = redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[5],
  ARGV[1] == '' and '*' or ARGV[1] .. '-*', 'kind', kind, 'body', body)
redis.call('XTRIM', KEYS[1], 'MINID', string.format('%d', now - keep_ms))
redis.call('PEXPIRE', KEYS[1], keep_ms)
redis.call('PUBLISH', ARGV[7], agent)
if record and ARGV[8] ~= '' then
  for _, inst in ipairs(cmsgpack.unpack(record)[12]) do
    local session = inst[2]
    if session ~= '' then
      local message = cmsgpack.pack({'tell', agent, number, kind, body, session})
      redis.call('PUBLISH', ARGV[8] .. string.sub(session, 1, 2), message)
    end
  end
end
return number
