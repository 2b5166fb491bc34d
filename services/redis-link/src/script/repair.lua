-- KEYS: a record. ARGV: 1 to remove what is invalid, the caller's clock, the type of the record, 1 when one invalid field makes all
-- of it useless; then for each field its name, what it must be, and its group.
local remove, clock = ARGV[1] == '1', tonumber(ARGV[2])
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return {'VALID'} end
if kind ~= ARGV[3] then
  if remove then redis.call('UNLINK', KEYS[1]) end
  return {'TYPE', kind}
end

local function is_valid(value, what)
  malformed = false
  if what == 'clock' then
    clock_made(value, clock)
  elseif what == 'shards' then
    local shards = tonumber(number(value))
    return not malformed and shards >= 1 and shards <= 65536
  elseif what == 'day' then
    local ms = tonumber(number(value))
    return not malformed and ms <= DAY_MS
  elseif what == 'name' then
    return #value <= 64 and string.match(value, '^[%w._-]+$') ~= nil
  elseif what == 'key' then
    return value == '' or (#value == 8 and string.match(value, '^%x+$') ~= nil)
  else
    number(value)
    return not malformed and #value <= tonumber(what)
  end
  return not malformed
end

local values, wrong, groups = {}, {}, {}
for place = 5, #ARGV, 3 do
  local name, group = ARGV[place], ARGV[place + 2]
  local value = redis.call('HGET', KEYS[1], name)
  values[name] = value
  if value and not is_valid(value, ARGV[place + 1]) then
    wrong[name] = true
    if group ~= '' then groups[group] = 'wrong' end
  end
  -- A group without one of its fields says nothing.
  if group ~= '' and groups[group] ~= 'wrong' then
    local has = value and 'has' or 'lacks'
    groups[group] = (not groups[group] or groups[group] == has) and has or 'wrong'
  end
end
local answer = {'FIELDS'}
for place = 5, #ARGV, 3 do
  local name = ARGV[place]
  if values[name] and (wrong[name] or groups[ARGV[place + 2]] == 'wrong') then
    answer[#answer + 1] = name
    answer[#answer + 1] = string.sub(values[name], 1, 200)
    if remove then redis.call('HDEL', KEYS[1], name) end
  end
end
if #answer == 1 then return {'VALID'} end
if remove and ARGV[4] == '1' then redis.call('UNLINK', KEYS[1]) end
return answer
