-- KEYS: a record. ARGV: names of fields. Answers with their values.
local values = redis.call('HMGET', KEYS[1], unpack(ARGV, 1, #ARGV - 1))
for place, value in ipairs(values) do
  if ARGV[place] == 'term' or ARGV[place] == 'epoch' then stamp(value) end
end
if malformed then return {'MALFORMED'} end
return values
