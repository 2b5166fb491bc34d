-- The clock that made the ids of a stream. KEYS: the stream: in a Cluster each node has a clock of its own.
return redis.call('TIME')
