-- KEYS: term. ARGV: the standby that stops.
if redis.call('HGET', KEYS[1], 'standby') == ARGV[1] then redis.call('HDEL', KEYS[1], 'standby', 'standby_at_ms') end
return {'WITHDRAWN'}
