-- KEYS: worker.
local record = redis.call('HMGET', KEYS[1], 'incarnation', 'url', 'expires_at_ms', 'revoked', 'ttl_ms', 'term')
if not record[1] then return {'MISSING'} end
local expires = ends_at(record[3], record[5])
local term = stamp(record[6])
if malformed then return {'MALFORMED'} end
return {'RECORD', record[1], record[2] or '', text(math.max(0, expires - now_ms())), record[4] or '0', term}
