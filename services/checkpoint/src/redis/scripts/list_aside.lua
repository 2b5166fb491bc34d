-- ARGV: how long they are kept.
local lines = live(ARGV[1])
if alien then return {'ALIEN'} end
table.insert(lines, 1, 'LIST')
return lines
