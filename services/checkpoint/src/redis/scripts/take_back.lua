-- ARGV: epoch, the event.
if malformed then return {'MALFORMED'} end
if below(ARGV[1], highest) then return {'OUTRANKED', highest} end
redis.call('HDEL', KEYS[3], ARGV[2])
return {'DONE', '0'}
