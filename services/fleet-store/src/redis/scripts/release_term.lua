-- KEYS: term. ARGV: term, holder. The number stays, so that the next holder gets a higher one.
local record = redis.call('HMGET', KEYS[1], 'term', 'holder')
if record[1] == ARGV[1] and record[2] == ARGV[2] then
  redis.call('HSET', KEYS[1], 'holder', '', 'expires_at_ms', '0')
end
return {'RELEASED'}
