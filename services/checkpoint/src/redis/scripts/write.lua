-- ARGV: epoch, serial, how long it is kept, fresh, the head's total ('' for no head), the head, the number of records to remove, their
-- keys, then the keys and bytes of the records to set.
if malformed then return {'MALFORMED'} end
if below(ARGV[1], highest) then return {'OUTRANKED', highest} end
local known = exists and epoch == ARGV[1] and serial == ARGV[2]
if ARGV[4] == '1' then known = not below(ARGV[2], serial) end
if not known or #ARGV[2] > 15 then return {'LOST', serial} end
if ARGV[4] == '1' then redis.call('UNLINK', KEYS[2]) end
local next = text(tonumber(ARGV[2]) + 1)
if ARGV[5] == '' then
  redis.call('HSET', KEYS[2], '.epoch', ARGV[1], '.serial', next)
else
  redis.call(
    'HSET', KEYS[2], '.epoch', ARGV[1], '.serial', next,
    '.head', ARGV[6], '.total', ARGV[5], '.written_at_ms', text(now_ms())
  )
end

-- In parts, because Lua's stack holds only a few thousand values.
local function each_part(command, first, last)
  for from = first, last, 1000 do
    redis.call(command, KEYS[2], unpack(ARGV, from, math.min(from + 999, last)))
  end
end

local set = 8 + tonumber(ARGV[7])
each_part('HDEL', 8, set - 1)
each_part('HSET', set, #ARGV)
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return {'WRITTEN', next}
