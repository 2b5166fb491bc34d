-- KEYS: worker. ARGV: term, incarnation, url, ttl, how long the record outlives the lease.
local record = redis.call('HMGET', KEYS[1], 'incarnation', 'expires_at_ms', 'revoked', 'term', 'ttl_ms')
local incarnation, expires, revoked, term = record[1], ends_at(record[2], record[5]), record[3] == '1', stamp(record[4])
if malformed then return {'MALFORMED'} end
local now = now_ms()
if below(ARGV[1], term) then return {'STALE_TERM'} end
if incarnation == ARGV[2] and revoked then return {'REVOKED'} end
if incarnation and incarnation ~= ARGV[2] and not revoked and expires > now then
  return {'HELD_BY_OTHER', incarnation, text(expires - now)}
end
redis.call('HSET', KEYS[1], 'incarnation', ARGV[2], 'url', ARGV[3], 'expires_at_ms', text(now + tonumber(ARGV[4])),
  'ttl_ms', ARGV[4], 'revoked', '0', 'term', ARGV[1])
redis.call('PEXPIRE', KEYS[1], text(tonumber(ARGV[4]) + tonumber(ARGV[5])))
return {'GRANTED'}
