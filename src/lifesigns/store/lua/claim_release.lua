-- Ends a claim. Batch = {agent, token, holder, why}; holder: '' whoever it is.
-- Answers {now, epoch, 1 or 0: there is no such claim of this holder}.
local name, token, holder, why = unpack(cmsgpack.unpack(ARGV[5]))
local packed = redis.call('HGET', KEYS[10], token .. '@' .. name)
load({name})
local index = find_claim(recs[name], token)
if not index or not packed or (holder ~= '' and cmsgpack.unpack(packed)[HOLDER] ~= holder) then
  return {now, epoch, 0}
end
unclaim(name, index, why)
settle(name, true)
flush()
return {now, epoch, 1}
