-- Moves a shard's fence back if it is where the caller saw it, so that a repeated call changes nothing.
-- KEYS: the shard's fence. ARGV: epoch, session and sequence as seen, session and sequence to move it to.
local held = read_fence(KEYS[1], tonumber(ARGV[1]))
if held[1] and tonumber(held[1]) > tonumber(ARGV[1]) then
  return { 'OUTRANKED', held[1] }
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
if held[2] == ARGV[2] and held[3] == ARGV[3] then
  redis.call('HSET', KEYS[1], 'session', ARGV[4], 'sequence', ARGV[5])
  held[2], held[3] = ARGV[4], ARGV[5]
end
return { 'DONE', held[2] or '', held[3] or '', '0', '0' }
