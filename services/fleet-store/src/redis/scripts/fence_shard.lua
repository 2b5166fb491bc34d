-- KEYS: shard. ARGV: term. A record that does not exist yet is fenced as well.
local term = stamp(redis.call('HGET', KEYS[1], 'term'))
if malformed then return {'MALFORMED'} end
if below(ARGV[1], term) then return {'STALE_TERM'} end
redis.call('HSET', KEYS[1], 'term', ARGV[1])
return {'WRITTEN'}
