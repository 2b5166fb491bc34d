-- KEYS: term. ARGV: term, holder, ttl, how long a standby is remembered.
local record = redis.call('HMGET', KEYS[1], 'term', 'holder', 'standby', 'standby_at_ms')
local term, holder, standby, asked = stamp(record[1]), record[2] or '', record[3], tonumber(number(record[4]))
if malformed then return {'MALFORMED'} end
if below(ARGV[1], term) or (term == ARGV[1] and holder ~= ARGV[2]) then return {'LOST', term} end
local now = now_ms()
redis.call('HSET', KEYS[1], 'term', ARGV[1], 'holder', ARGV[2], 'expires_at_ms', text(now + tonumber(ARGV[3])),
  'ttl_ms', ARGV[3])
-- A time in the future was written by another program: no standby asked then.
local waits = standby and standby ~= ARGV[2] and asked <= now and now - asked < tonumber(ARGV[4])
return {'HELD', waits and '1' or '0'}
