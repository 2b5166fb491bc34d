-- Cuts what is older than so many milliseconds.
-- KEYS: streams (name -> first id that was not cut), the stream.
-- ARGV: the stream's name, the age in milliseconds.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local oldest = string.format('%.0f-0', now - tonumber(ARGV[2]))
local gone = redis.call('XTRIM', KEYS[2], 'MINID', '~', oldest)
if gone > 0 then
  local left = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)
  -- Whoever reads on from after the oldest that may stay has missed nothing.
  local first = left[1] and left[1][1] or oldest
  local left_ms, oldest_ms = tonumber(string.match(first, '^%d+')), tonumber(string.match(oldest, '^%d+'))
  redis.call('HSET', KEYS[1], ARGV[1], left_ms < oldest_ms and first or oldest)
end
return { tostring(gone) }
