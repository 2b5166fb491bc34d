-- In front of every script. KEYS: the shard's owner, its checkpoint. Reads what fences, and the clock.

-- Numbers travel and are compared as decimal text, so that they are exact up to 64 bits: Lua's own are doubles.
local malformed = false

local function number(text)
  if not text then return '0' end
  if #text > 20 or not (text == '0' or string.match(text, '^[1-9]%d*$')) then
    malformed = true
    return '0'
  end
  return text
end

local function below(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

-- A double as decimal text; for milliseconds and serials, which stay far below 2^53.
local function text(value)
  return string.format('%.0f', value)
end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local stored = redis.call('HMGET', KEYS[2], '.epoch', '.serial', '.total', '.written_at_ms')
local exists, epoch, serial = stored[1], number(stored[1]), number(stored[2])
local total, written_at = number(stored[3]), number(stored[4])
if #serial > 15 or #written_at > 15 then malformed = true end

-- The highest epoch that anyone was given: the checkpoint's own and the owner's.
local highest = number(redis.call('HGET', KEYS[1], 'epoch'))
if below(highest, epoch) then highest = epoch end

-- How many records there are: all fields but the ones about the whole.
local function records()
  local about = redis.call('HMGET', KEYS[2], '.epoch', '.serial', '.total', '.written_at_ms', '.head')
  local count = redis.call('HLEN', KEYS[2])
  for place = 1, 5 do
    if about[place] then count = count - 1 end
  end
  return text(count)
end

local function age()
  return text(math.max(0, now_ms() - tonumber(written_at)))
end
