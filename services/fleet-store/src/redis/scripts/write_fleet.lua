-- KEYS: fleet. ARGV: term, then fields and values.
local term = stamp(redis.call('HGET', KEYS[1], 'term'))
if malformed then return {'MALFORMED'} end
if below(ARGV[1], term) then return {'STALE_TERM'} end
redis.call('HSET', KEYS[1], 'term', ARGV[1], unpack(ARGV, 2, #ARGV - 1))
return {'WRITTEN'}
