-- KEYS: shard. ARGV: term, worker, incarnation, epoch.
local record = redis.call('HMGET', KEYS[1], 'worker', 'incarnation', 'epoch', 'term')
local epoch, term = stamp(record[3]), stamp(record[4])
if malformed then return {'MALFORMED'} end
if is_ahead(ARGV[1]) or is_ahead(ARGV[4]) then return {'AHEAD'} end
if below(ARGV[1], term) then return {'STALE_TERM'} end
local same = record[1] == ARGV[2] and record[2] == ARGV[3]
if below(ARGV[4], epoch) or (record[3] and epoch == ARGV[4] and not same) then return {'OUTRANKED', epoch} end
redis.call('HSET', KEYS[1], 'worker', ARGV[2], 'incarnation', ARGV[3], 'epoch', ARGV[4], 'term', ARGV[1])
return {'WRITTEN'}
