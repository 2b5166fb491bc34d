-- In front of every script: reading a record's fields, the clock, and the fence. ARGV ends with the caller's clock.

-- Numbers travel and are compared as decimal text, so that they are exact up to 64 bits: Lua's own are doubles.
local alien = false

local function number(text)
  if not text then return '0' end
  if #text > 20 or not (text == '0' or string.match(text, '^[1-9]%d*$')) then
    alien = true
    return '0'
  end
  return text
end

local function below(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

-- A double as decimal text; for milliseconds and terms, which stay far below 2^53.
local function text(value)
  return string.format('%.0f', value)
end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A term or an epoch. They are made from a clock: one that is more than a day ahead of Redis's and the caller's is invalid.
local function stamp(value)
  value = number(value)
  if tonumber(value) > math.max(now_ms(), tonumber(ARGV[#ARGV])) + 86400000 then
    alien = true
    return '0'
  end
  return value
end

-- When a lease or a hold of the term ends: at most its TTL from now. A later end comes from a wrong clock or another
-- program; the corrected one is written down, so that it lapses.
local function ends_at(expires, ttl)
  expires, ttl = tonumber(number(expires)), tonumber(number(ttl or '60000'))
  local latest = now_ms() + ttl
  if alien or expires <= latest then return expires end
  redis.call('HSET', KEYS[1], 'expires_at_ms', text(latest))
  return latest
end
