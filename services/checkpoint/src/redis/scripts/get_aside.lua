-- ARGV: how long they are kept, the event.
live(ARGV[1])
local line = redis.call('HGET', KEYS[4], ARGV[2])
local payload = redis.call('HGET', KEYS[5], ARGV[2])
if malformed then return {'MALFORMED'} end
if not line or not payload then return {'NONE'} end
return {'EVENT', line, payload}
