-- Marks the instances of a hub that is lost, a page of the leases at a time.
-- Batch = {node, end of its lease, cursor, count, limit, rank, why, least_ms, most_ms}: a lease runs
-- on for its ttl, but within these bounds, and never for less than it had.
-- Answers {now, epoch, next cursor, marked, 1 if there are more on this very page or 0}; a cursor of
-- '' means that the hub is back (part's back:<node> is when).
-- A lease that was lengthened here ends at a quarter of a ms: it tells nothing, and is not marked twice.
local node, lapsed, cursor, count, limit, rank, why, least_ms, most_ms = unpack(cmsgpack.unpack(ARGV[5]))
if tonumber(redis.call('HGET', KEYS[8], 'back:' .. node) or 0) >= lapsed then
  return {now, epoch, '', 0, 0}
end
local page = redis.call('ZSCAN', KEYS[3], cursor, 'COUNT', count)
local found, names = {}, {}
for i = 1, #page[2], 2 do
  local member, ends = page[2][i], tonumber(page[2][i + 1])
  local agent, inst, session = string.match(member, '^([^\31]*)\31([^\31]*)\31(.*)$')
  if agent and string.sub(session, 1, 2) == node and ends % 1 ~= 0.25 then
    if #found == limit then break end
    found[#found + 1] = {agent, inst, session, member, ends}
    names[#names + 1] = agent
  end
end
local z, orphans, marked = {}, {}, 0
if #found > 0 then load(names) end
for _, each in ipairs(found) do
  local agent, inst, session, member, ends = unpack(each)
  local x = find(recs[agent], inst)
  if not x or x[SESSION] ~= session then
    orphans[#orphans + 1] = member
  else
    local stairs, broken = x[PAIRS], false
    for k = 1, #stairs, 2 do broken = broken or (stairs[k] == 0 and stairs[k + 1] == rank) end
    x[HEARD] = heard_of(x, ends)
    local longer = ends
    if broken then
      dirty[agent] = true
    else
      longer = math.max(ends, now + math.max(least_ms, math.min(x[TTL], most_ms)))
      stairs[#stairs + 1], stairs[#stairs + 2] = 0, rank
      x[REASON] = why
      marked = marked + 1
      tell(agent, x, 'suspected')
      settle(agent, false, '', '', math.floor(longer))
    end
    z[#z + 1] = string.format('%d.25', longer)
    z[#z + 1] = member
  end
end
if #orphans > 0 then redis.call('ZREM', KEYS[3], unpack(orphans)) end
if #z > 0 then redis.call('ZADD', KEYS[3], 'XX', unpack(z)) end
flush()
if #found == limit then return {now, epoch, cursor, marked, 1} end
return {now, epoch, page[1], marked, 0}
