-- ARGV: epoch, the event, its line, the most events to keep, how long they are kept, the most bytes to keep, its
-- payload. The event itself is kept in any case.
if malformed then return {'MALFORMED'} end
if below(ARGV[1], highest) then return {'OUTRANKED', highest} end
local lines = live(ARGV[5])
if malformed then return {'MALFORMED'} end
redis.call('HSET', KEYS[4], ARGV[2], text(now_ms()) .. ' ' .. ARGV[3])
redis.call('HSET', KEYS[5], ARGV[2], ARGV[7])
local others, bytes = {}, #ARGV[7]
for place = 1, #lines, 2 do
  if lines[place] ~= ARGV[2] then
    local size = redis.call('HSTRLEN', KEYS[5], lines[place])
    others[#others + 1] = {taken_at(lines[place + 1]), lines[place], size}
    bytes = bytes + size
  end
end
table.sort(others, function(a, b)
  if a[1] ~= b[1] then return a[1] < b[1] end
  return a[2] < b[2]
end)
local forgotten = {}
for place = 1, #others do
  if #others + 2 - place <= tonumber(ARGV[4]) and bytes <= tonumber(ARGV[6]) then break end
  forgotten[place] = others[place][2]
  bytes = bytes - others[place][3]
end
forget(forgotten)
redis.call('PEXPIRE', KEYS[4], ARGV[5])
redis.call('PEXPIRE', KEYS[5], ARGV[5])
return {'DONE', text(#forgotten)}
