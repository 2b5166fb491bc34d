-- KEYS: the stream, its state, the mark that this message was sent. ARGV: channel, message, a generation to set if the stream
-- has no generation, longest length of the stream, its largest size in bytes.
-- A cluster client sends a script again when the connection broke before the answer: because of the mark the second call does nothing.
-- The state names the stream's end, so a subscriber sees with one cheap read whether it has everything. A Redis
-- that lost its keys starts a new generation, so that subscribers don't mistake it for the old one.
-- Each entry has the total bytes written up to its end, so that the first entry gives the stream's size.
local sent = redis.call('GET', KEYS[3])
if sent then return sent end
local most_bytes = tonumber(ARGV[5] or '67108864')
local generation = redis.call('HGET', KEYS[2], 'generation')
if not generation then
  generation = ARGV[3]
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[2], 'generation', generation, 'sequence', '0', 'bytes', '0')
end
local sequence = string.format('%.0f', redis.call('HINCRBY', KEYS[2], 'sequence', 1))
-- 128: an entry's overhead beside its message.
local written = redis.call('HINCRBY', KEYS[2], 'bytes', #ARGV[2] + 128)
-- Trim first, so that the stream never exceeds the limit.
while true do
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  if not first then break end
  local message, upto = 0, 0
  for at = 1, #first[2], 2 do
    if first[2][at] == 'message' then message = #first[2][at + 1] end
    if first[2][at] == 'upto' then upto = tonumber(first[2][at + 1]) or 0 end
  end
  -- Entries of older versions lack this total, and count as written before all others.
  local begin = upto > 0 and upto - message - 128 or 0
  if written - begin <= most_bytes then break end
  redis.call('XDEL', KEYS[1], first[1])
end
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', 'generation', generation,
  'sequence', sequence, 'upto', string.format('%.0f', written), 'message', ARGV[2])
redis.call('HSET', KEYS[2], 'last_id', id)
redis.call('SET', KEYS[3], id, 'EX', 10)
redis.call('PUBLISH', ARGV[1], id .. ' ' .. sequence .. ' ' .. generation .. '\n' .. ARGV[2])
return id
