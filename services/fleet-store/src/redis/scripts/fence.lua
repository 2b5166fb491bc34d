-- Behind record.lua in front of every script: the fence. ARGV ends with the caller's clock.

-- A term or an epoch. They are made from a clock: one that is more than a day ahead of Redis's and the caller's is invalid.
local function stamp(value)
  value = number(value)
  if tonumber(value) > math.max(now_ms(), tonumber(ARGV[#ARGV])) + 86400000 then
    malformed = true
    return '0'
  end
  return value
end

-- When a lease or a hold of the term ends: at most its TTL from now. A later end comes from a wrong clock or another
-- program; the corrected one is written down, so that it lapses.
local function ends_at(expires, ttl)
  expires, ttl = tonumber(number(expires)), tonumber(number(ttl or '60000'))
  local latest = now_ms() + ttl
  if malformed or expires <= latest then return expires end
  redis.call('HSET', KEYS[1], 'expires_at_ms', text(latest))
  return latest
end
