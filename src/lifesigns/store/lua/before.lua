-- Reads what agents said before a change, from their past. Batch = {agent, changes, seq, ...}: the
-- change's number, and how many there were of the agent since, itself included; a few may have come
-- meanwhile. Answers {now, epoch, words or '', ...}: '' where that is not kept any more.
local MEANWHILE = 4
local batch = cmsgpack.unpack(ARGV[5])
local out = {now, epoch}
for i = 1, #batch, 3 do
  local told = redis.call('LRANGE', own_key('past', batch[i]), -batch[i + 1] - 1 - MEANWHILE, -batch[i + 1])
  local words = ''
  for k = #told, 2, -1 do
    local passage = cmsgpack.unpack(told[k])
    if passage[1] == epoch and passage[2] == batch[i + 2] then
      words = cmsgpack.unpack(told[k - 1])[10]
      break
    end
  end
  out[#out + 1] = words
end
return out
