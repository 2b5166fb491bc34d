-- The clock that makes a stream's ids. KEYS: the stream, since each node of a Cluster has its own clock.
return redis.call('TIME')
