-- KEYS: worker. ARGV: term, incarnation, even_if_live, how long the record is kept.
local record = redis.call('HMGET', KEYS[1], 'incarnation', 'expires_at_ms', 'revoked', 'term', 'ttl_ms')
local incarnation, expires, revoked, term = record[1], ends_at(record[2], record[5]), record[3] == '1', stamp(record[4])
if malformed then return {'MALFORMED'} end
local now = now_ms()
if below(ARGV[1], term) then return {'STALE_TERM'} end
if incarnation and incarnation ~= ARGV[2] then return {'REPLACED'} end
if incarnation and not revoked and expires > now and ARGV[3] ~= '1' then return {'STILL_LIVE', text(expires - now)} end
redis.call('HSET', KEYS[1], 'incarnation', ARGV[2], 'expires_at_ms', text(now), 'revoked', '1', 'term', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {'REVOKED'}
