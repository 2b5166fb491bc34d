-- KEYS: history, a stream. ARGV: the newest id, how many. Answers with id, writer, number and text of each entry, newest first.
local rows = {}
for place, entry in ipairs(redis.call('XREVRANGE', KEYS[1], ARGV[1], '-', 'COUNT', ARGV[2])) do
  local row = {entry[1], '', '', ''}
  local fields = entry[2]
  for at = 1, #fields, 2 do
    if fields[at] == 'writer' then row[2] = fields[at + 1] end
    if fields[at] == 'number' then row[3] = fields[at + 1] end
    if fields[at] == 'entry' then row[4] = fields[at + 1] end
  end
  rows[place] = row
end
return rows
