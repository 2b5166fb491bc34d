-- Behind stored.lua, in front of the scripts about events that are set aside. Further KEYS: the notes, the lines about set-aside events,
-- their payloads. The last two have the same fields; a line begins with the time at which the event was set aside.
local function taken_at(line)
  local at = string.match(line, '^(%d+) ')
  if not at or #at > 15 then
    malformed = true
    return 0
  end
  return tonumber(at)
end

local function forget(fields)
  for place = 1, #fields do
    redis.call('HDEL', KEYS[4], fields[place])
    redis.call('HDEL', KEYS[5], fields[place])
  end
end

-- Returns the set-aside events that are not too old, as fields and lines, and removes the others.
local function live(kept)
  local all = redis.call('HGETALL', KEYS[4])
  local lines, old = {}, {}
  local since = now_ms() - tonumber(kept)
  for place = 1, #all, 2 do
    if taken_at(all[place + 1]) <= since then
      old[#old + 1] = all[place]
    else
      lines[#lines + 1] = all[place]
      lines[#lines + 1] = all[place + 1]
    end
  end
  if not malformed then forget(old) end
  return lines
end
