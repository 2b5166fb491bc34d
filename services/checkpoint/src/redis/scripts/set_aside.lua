-- ARGV: epoch, the event, its line, the most events to keep, how long they are kept, its payload.
if malformed then return {'MALFORMED'} end
if below(ARGV[1], highest) then return {'OUTRANKED', highest} end
local lines = live(ARGV[5])
if malformed then return {'MALFORMED'} end
redis.call('HSET', KEYS[4], ARGV[2], text(now_ms()) .. ' ' .. ARGV[3])
redis.call('HSET', KEYS[5], ARGV[2], ARGV[6])
local others = {}
for place = 1, #lines, 2 do
  if lines[place] ~= ARGV[2] then
    others[#others + 1] = {taken_at(lines[place + 1]), lines[place]}
  end
end
table.sort(others, function(a, b)
  if a[1] ~= b[1] then return a[1] < b[1] end
  return a[2] < b[2]
end)
local forgotten = {}
for place = 1, #others + 1 - tonumber(ARGV[4]) do forgotten[place] = others[place][2] end
forget(forgotten)
redis.call('PEXPIRE', KEYS[4], ARGV[5])
redis.call('PEXPIRE', KEYS[5], ARGV[5])
return {'DONE', text(#forgotten)}
