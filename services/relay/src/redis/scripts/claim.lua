-- Claims the streams for a fleet whose own state ends with its process. Streams of a fleet that keeps its state are left alone.
-- KEYS: common. ARGV: 1 to claim, 0 to end every claim, as a fleet that keeps its state does.
if ARGV[1] == '0' then
  redis.call('HDEL', KEYS[1], 'one_run')
  return { 'DONE' }
end
local held = redis.call('HMGET', KEYS[1], 'number', 'one_run')
if held[1] and not held[2] then
  return { 'KEPT' }
end
redis.call('HSET', KEYS[1], 'one_run', '1')
return { 'DONE' }
