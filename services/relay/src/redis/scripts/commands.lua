-- Keeps the stream of bots' commands within its bounds; the oldest go. Returns the clock that makes its ids, and how many went.
-- KEYS: the stream, since each node of a Cluster has its own clock. ARGV: the most commands, the most bytes.
local gone = redis.call('XTRIM', KEYS[1], 'MAXLEN', ARGV[1])
-- An estimate out of some of the entries. Some users of Redis may not ask for it; without it only the number counts.
local bytes = redis.pcall('MEMORY', 'USAGE', KEYS[1], 'SAMPLES', 64)
if type(bytes) == 'number' and bytes > tonumber(ARGV[2]) then
  gone = gone + redis.call('XTRIM', KEYS[1], 'MAXLEN', math.floor(redis.call('XLEN', KEYS[1]) / 2))
end
local time = redis.call('TIME')
return { time[1], time[2], gone }
