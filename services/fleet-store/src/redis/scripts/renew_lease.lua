-- KEYS: worker. ARGV: incarnation, url, ttl, in_window, how long the record outlives the lease.
local record = redis.call('HMGET', KEYS[1], 'incarnation', 'expires_at_ms', 'revoked', 'term')
local incarnation, expires, revoked, term = record[1], tonumber(number(record[2])), record[3] == '1', stamp(record[4])
if malformed then return {'MALFORMED'} end
local now = now_ms()
if revoked or (incarnation and incarnation ~= ARGV[1]) then return {'REFUSED'} end
local live = incarnation and expires > now
if not live and ARGV[4] ~= '1' then return {'LAPSED'} end
redis.call('HSET', KEYS[1], 'incarnation', ARGV[1], 'url', ARGV[2], 'expires_at_ms', text(now + tonumber(ARGV[3])),
  'ttl_ms', ARGV[3], 'revoked', '0', 'term', term)
redis.call('PEXPIRE', KEYS[1], text(tonumber(ARGV[3]) + tonumber(ARGV[5])))
return {'HELD', term}
