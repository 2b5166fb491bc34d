-- In front of scripts about records. Numbers travel and are compared as decimal text, so that they are exact up to 64 bits: Lua's own
-- are doubles.
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

-- A double as decimal text; for milliseconds, serials and terms, which stay far below 2^53.
local function text(value)
  return string.format('%.0f', value)
end

local asked_at

-- The time at which the script first asked; it is one moment for the whole script.
local function now_ms()
  if not asked_at then
    local time = redis.call('TIME')
    asked_at = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  end
  return asked_at
end

local DAY_MS = 86400000

-- A term or an epoch. They are made from a clock: one that is more than a day ahead of Redis's clock and of the caller's is invalid.
local function clock_made(value, callers)
  value = number(value)
  if tonumber(value) > math.max(now_ms(), callers) + DAY_MS then
    malformed = true
    return '0'
  end
  return value
end
