-- KEYS: history, a stream. ARGV: writer, most entries, most bytes, how many entries to look back for this writer's last number
-- (0: none), then for each entry its number and text.
-- Each entry holds the bytes of all texts up to it, so that the difference of two says what is between them.
local writer, most, most_bytes, look_back = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

local function field(entry, name)
  local fields = entry[2]
  for place = 1, #fields, 2 do
    if fields[place] == name then return fields[place + 1] end
  end
end

local function bytes_at(entry)
  local bytes = field(entry, 'bytes')
  return bytes and tonumber(number(bytes)) or 0
end

local known = '0'
if look_back > 0 then
  for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', look_back)) do
    if field(entry, 'writer') == writer then
      known = number(field(entry, 'number'))
      break
    end
  end
end
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local bytes = newest and bytes_at(newest) or 0
-- An entry of another program says nothing of bytes; the count begins again after it.
malformed = false
for place = 5, #ARGV - 2, 2 do
  if below(known, ARGV[place]) then
    bytes = bytes + #ARGV[place + 1]
    redis.call('XADD', KEYS[1], 'MAXLEN', '=', most, '*', 'writer', writer, 'number', ARGV[place],
      'bytes', text(bytes), 'entry', ARGV[place + 1])
  end
end
while true do
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 64)
  local first = oldest[1]
  if not first then break end
  local before = bytes_at(first) - #(field(first, 'entry') or '')
  if bytes - before <= most_bytes then break end
  local beyond = {}
  for _, entry in ipairs(oldest) do
    if bytes - before <= most_bytes then break end
    beyond[#beyond + 1] = entry[1]
    before = bytes_at(entry)
  end
  redis.call('XDEL', KEYS[1], unpack(beyond))
end
return {'WRITTEN'}
