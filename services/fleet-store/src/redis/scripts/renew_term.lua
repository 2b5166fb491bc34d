-- KEYS: term. ARGV: term, holder, ttl.
local record = redis.call('HMGET', KEYS[1], 'term', 'holder')
local term, holder = number(record[1]), record[2] or ''
if alien then return {'ALIEN'} end
if below(ARGV[1], term) or (term == ARGV[1] and holder ~= ARGV[2]) then return {'LOST', term} end
redis.call('HSET', KEYS[1], 'term', ARGV[1], 'holder', ARGV[2], 'expires_at_ms', text(now_ms() + tonumber(ARGV[3])))
return {'HELD'}
