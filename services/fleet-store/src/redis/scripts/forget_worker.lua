-- KEYS: worker. ARGV: incarnation. A revoked record stays: without it the same incarnation could write its lease again.
local record = redis.call('HMGET', KEYS[1], 'incarnation', 'revoked')
if record[1] and record[1] ~= ARGV[1] then return {'REPLACED'} end
if record[2] ~= '1' then redis.call('DEL', KEYS[1]) end
return {'FORGOTTEN'}
