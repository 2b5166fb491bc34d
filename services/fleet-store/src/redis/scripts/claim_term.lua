-- KEYS: term. ARGV: holder, ttl, at least. A caller that has to wait leaves its name, which the holder sees in its renewals.
local record = redis.call('HMGET', KEYS[1], 'term', 'holder', 'expires_at_ms', 'standby', 'ttl_ms')
local term, holder, expires = stamp(record[1]), record[2] or '', ends_at(record[3], record[5])
if malformed then return {'MALFORMED'} end
if is_ahead(ARGV[3]) then return {'AHEAD'} end
local now = now_ms()
local live = holder ~= '' and expires > now
if live and holder ~= ARGV[1] then
  redis.call('HSET', KEYS[1], 'standby', ARGV[1], 'standby_at_ms', text(now))
  return {'HELD_BY', term, holder, text(expires - now)}
end
if not live then
  term = text(tonumber(term) + 1)
  if below(term, ARGV[3]) then term = ARGV[3] end
end
if record[4] == ARGV[1] then redis.call('HDEL', KEYS[1], 'standby', 'standby_at_ms') end
redis.call('HSET', KEYS[1], 'term', term, 'holder', ARGV[1], 'expires_at_ms', text(now + tonumber(ARGV[2])),
  'ttl_ms', ARGV[2])
return {'ACTING', term}
