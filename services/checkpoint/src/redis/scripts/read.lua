-- ARGV: epoch, serial, cursor, count, bytes of the longest record. A longer one is answered as an empty
-- record, which no reader accepts.
if malformed then return {'MALFORMED'} end
if below(ARGV[1], highest) then return {'OUTRANKED', highest} end
if not exists or epoch ~= ARGV[1] or serial ~= ARGV[2] then return {'LOST', serial} end
local page = redis.call('HSCAN', KEYS[2], ARGV[3], 'COUNT', ARGV[4])
local answer = {'PAGE', page[1]}
for place = 1, #page[2], 2 do
  if string.sub(page[2][place], 1, 1) ~= '.' then
    answer[#answer + 1] = page[2][place]
    local record = page[2][place + 1]
    answer[#answer + 1] = #record > tonumber(ARGV[5]) and '' or record
  end
end
return answer
