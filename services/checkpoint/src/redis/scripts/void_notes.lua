-- ARGV: epoch, the event ('' for all), then the epochs whose notes are removed.
if malformed then return {'MALFORMED'} end
if below(ARGV[1], highest) then return {'OUTRANKED', highest} end
local void = {}
for place = 3, #ARGV do void[ARGV[place]] = true end
local events = {ARGV[2]}
if ARGV[2] == '' then events = redis.call('HKEYS', KEYS[3]) end
for place = 1, #events do
  local left = ''
  for owner in string.gmatch(redis.call('HGET', KEYS[3], events[place]) or '', '[^,]+') do
    if not void[owner] then left = left .. ',' .. owner end
  end
  if left == '' then
    redis.call('HDEL', KEYS[3], events[place])
  else
    redis.call('HSET', KEYS[3], events[place], left)
  end
end
return {'DONE', '0'}
