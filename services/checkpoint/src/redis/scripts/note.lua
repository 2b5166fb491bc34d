-- ARGV: epoch, the event, the number that its other notes must be below, how long notes are kept. A note is its owner's epoch, so a
-- repeated call, whose first answer was lost, changes nothing.
if malformed then return {'MALFORMED'} end
if below(ARGV[1], highest) then return {'OUTRANKED', highest} end
local notes = redis.call('HGET', KEYS[3], ARGV[2]) or ''
local before, mine = 0, false
for owner in string.gmatch(notes, '[^,]+') do
  if owner == ARGV[1] then mine = true else before = before + 1 end
end
if before >= tonumber(ARGV[3]) then return {'NO', text(before)} end
if not mine then redis.call('HSET', KEYS[3], ARGV[2], notes .. ',' .. ARGV[1]) end
redis.call('PEXPIRE', KEYS[3], ARGV[4])
return {'YES', text(before)}
