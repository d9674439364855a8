-- Ends keys of a project. ARGV 2.. ids. Answers how many there were.
local revision, ended
for i = 2, #ARGV do
  local hash = redis.call('HGET', IDS, ARGV[i])
  if hash then
    revision = revision or revise()
    revoke(ARGV[i], hash, revision)
    ended = (ended or 0) + 1
  end
end
return ended or 0
