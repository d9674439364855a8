-- Drops an agent's record at once. Batch = {agent}. Answers {now, epoch, 1 or 0}.
-- A hub may miss that it is told: for a day no session that began before makes the agent again.
local name = cmsgpack.unpack(ARGV[5])[1]
load({name})
local rec = recs[name]
if rec[RANK] == NONE then return {now, epoch, 0} end
for i = #rec[INSTS], 1, -1 do
  local x = rec[INSTS][i]
  local member = name .. SEP .. x[NAME] .. SEP .. x[SESSION]
  local ends = tonumber(redis.call('ZSCORE', KEYS[3], member) or now)
  redis.call('ZREM', KEYS[3], member)
  tell(name, x, 'left')
  remove(name, i, heard_of(x, ends))
end
if rec[RANK] > DOWN then settle(name, true, 'left', '') end
forget(name)
redis.call('SET', own_key('fence', name), string.format('%d', now), 'PX', 86400000)
flush()
return {now, epoch, 1}
