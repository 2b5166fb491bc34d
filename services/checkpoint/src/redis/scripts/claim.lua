-- ARGV: epoch, how long the checkpoint is kept. A further key holds the claiming epoch and the previous owner's, so that a repeated
-- claim, whose first answer was lost, gets the same answer.
if malformed or head_size() > most then return {'MALFORMED'} end
if below(ARGV[1], highest) then return {'OUTRANKED', highest} end
redis.call('HSET', KEYS[2], '.epoch', ARGV[1], '.serial', serial)
redis.call('PEXPIRE', KEYS[2], ARGV[2])
local before = exists and epoch ~= ARGV[1] and epoch or ''
if before ~= '' then
  redis.call('SET', KEYS[3], ARGV[1] .. ' ' .. before, 'PX', ARGV[2])
elseif exists then
  local mine, known = string.match(redis.call('GET', KEYS[3]) or '', '^(%d+) (%d+)$')
  if mine == ARGV[1] then
    before = number(known)
    redis.call('PEXPIRE', KEYS[3], ARGV[2])
  end
end
local head = redis.call('HGET', KEYS[2], '.head')
if not head then return {'YOURS', serial, records(), before} end
return {'YOURS', serial, records(), before, age(), head}
