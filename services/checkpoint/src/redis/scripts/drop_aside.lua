-- ARGV: the event.
redis.call('HDEL', KEYS[5], ARGV[1])
return {'DROPPED', text(redis.call('HDEL', KEYS[4], ARGV[1]))}
