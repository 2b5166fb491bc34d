-- Removes all entries of a stream. Its consumer groups stay, and have read all.
-- KEYS: streams (name -> first id that was not cut), the stream. ARGV: the stream's name, or '' for one that is not of events.
if redis.call('TYPE', KEYS[2]).ok ~= 'stream' then
  return { '0' }
end
local function fields(flat)
  local named = {}
  for at = 1, #flat, 2 do
    named[flat[at]] = flat[at + 1]
  end
  return named
end
local stream = fields(redis.call('XINFO', 'STREAM', KEYS[2]))
local last, added = stream['last-generated-id'], stream['entries-added']
local gone = redis.call('XTRIM', KEYS[2], 'MAXLEN', 0)
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
  local group = fields(flat)['name']
  if added then
    redis.call('XGROUP', 'SETID', KEYS[2], group, last, 'ENTRIESREAD', string.format('%.0f', added))
  else
    redis.call('XGROUP', 'SETID', KEYS[2], group, last)
  end
end
if gone > 0 and ARGV[1] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[1], last)
end
return { tostring(gone) }
