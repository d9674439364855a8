-- Reads what was missed. Batch = {epoch, at, seq, limit}: the place up to which all is known.
-- Answers {now, epoch, seq, why, change, ...}: changes that follow without a hole, or why they
-- cannot be had any more ('epoch' or 'history_trimmed'); then a snapshot is needed.
local batch = cmsgpack.unpack(ARGV[5])
local known, place, last, limit = batch[1], batch[2], batch[3], batch[4]
if known ~= epoch or last > seq then return {now, epoch, seq, 'epoch'} end
local out = {now, epoch, seq, ''}
if last == seq then return out end
local entries = redis.call('XRANGE', KEYS[4], '(' .. string.format('%d-%d', place, last), '+', 'COUNT', limit)
if #entries == 0 or tonumber(string.match(entries[1][1], '-(%d+)$')) ~= last + 1 then
  out[4] = 'history_trimmed'
  return out
end
for i, entry in ipairs(entries) do out[4 + i] = entry[2][2] end
return out
