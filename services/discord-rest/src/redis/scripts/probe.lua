-- KEYS: probe. ARGV: how long it is kept. A write: a replica that can't take one must not count as back.
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 'OK'
