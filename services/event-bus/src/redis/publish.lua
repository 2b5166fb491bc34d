-- KEYS: the stream, its state, the mark that this very message was sent. ARGV: channel, message, a generation in case there
-- is none, longest length of the stream.
-- A cluster client sends a script again when the connection broke before the answer: the mark makes the second do nothing.
-- The state tells where the stream is, so a subscriber finds out with one cheap read whether it has everything. A Redis
-- that lost its keys starts a new generation, which cannot be taken for the old one going on.
local sent = redis.call('GET', KEYS[3])
if sent then return sent end
local generation = redis.call('HGET', KEYS[2], 'generation')
if not generation then
  generation = ARGV[3]
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[2], 'generation', generation, 'sequence', '0')
end
local sequence = string.format('%.0f', redis.call('HINCRBY', KEYS[2], 'sequence', 1))
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*',
  'generation', generation, 'sequence', sequence, 'message', ARGV[2])
redis.call('HSET', KEYS[2], 'last_id', id)
redis.call('SET', KEYS[3], id, 'EX', 10)
redis.call('PUBLISH', ARGV[1], id .. ' ' .. sequence .. ' ' .. generation .. '\n' .. ARGV[2])
return id
