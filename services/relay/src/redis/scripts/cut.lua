-- Cuts entries older than the given age.
-- KEYS: streams (name -> an id below which nothing that was cut is missing to a reader), the stream.
-- ARGV: the stream's name, the age in milliseconds.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local oldest = string.format('%.0f-0', now - tonumber(ARGV[2]))
local old = redis.call('XREVRANGE', KEYS[2], oldest, '-', 'COUNT', 1)
if not old[1] then
  return { '0' }
end
local gone = redis.call('XTRIM', KEYS[2], 'MINID', '~', oldest)
if gone > 0 then
  -- A reader that has read the last cut entry has missed nothing. Some old entries may still be there.
  local left = redis.call('XRANGE', KEYS[2], '-', old[1][1], 'COUNT', 1)
  redis.call('HSET', KEYS[1], ARGV[1], left[1] and left[1][1] or old[1][1])
end
return { tostring(gone) }
