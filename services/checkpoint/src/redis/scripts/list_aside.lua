-- ARGV: how long they are kept.
local lines = live(ARGV[1])
if malformed then return {'MALFORMED'} end
table.insert(lines, 1, 'LIST')
return lines
