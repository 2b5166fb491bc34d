-- ARGV: epoch, how long it is kept.
if alien then return {'ALIEN'} end
if below(ARGV[1], highest) then return {'OUTRANKED', highest} end
redis.call('HSET', KEYS[2], '.epoch', ARGV[1], '.serial', serial)
redis.call('PEXPIRE', KEYS[2], ARGV[2])
local before = exists and epoch ~= ARGV[1] and epoch or ''
local head = redis.call('HGET', KEYS[2], '.head')
if not head then return {'YOURS', serial, records(), before} end
return {'YOURS', serial, records(), before, age(), head}
