#!lua flags=allow-oom
-- Tells the latest entries of all diaries of a book in a partition.
-- KEYS 1 all diaries of the book
-- ARGV 1 now in ms, or ''  2 what the names of the diaries begin with  3 how many  4 how long one is kept
-- Answers {how many there are in all, member, entry, report, ...}, the latest first.
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local oldest = string.format('%d', now - tonumber(ARGV[4]))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. oldest)
local limit, total, found = tonumber(ARGV[3]), 0, {}

local function later(a, b)
  if a[1] ~= b[1] then return a[1] > b[1] end
  if a[2] ~= b[2] then return a[2] > b[2] end
  return a[3] < b[3]
end

local members = redis.call('ZREVRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #members, 2 do
  local member, last = members[i], tonumber(members[i + 1])
  local diary = ARGV[2] .. member
  redis.call('XTRIM', diary, 'MINID', oldest)
  total = total + redis.call('XLEN', diary)
  -- Whose last entry is older than all that are wanted has none of these.
  if #found < limit or last >= found[limit][1] then
    for _, entry in ipairs(redis.call('XREVRANGE', diary, '+', '-', 'COUNT', limit)) do
      local ms, number = string.match(entry[1], '^(%d+)-(%d+)$')
      found[#found + 1] = {tonumber(ms), tonumber(number), member, entry}
    end
    table.sort(found, later)
    for k = #found, limit + 1, -1 do found[k] = nil end
  end
end
local out = {total}
for _, each in ipairs(found) do
  out[#out + 1], out[#out + 2], out[#out + 3] = each[3], each[4][1], each[4][2][2]
end
return out
