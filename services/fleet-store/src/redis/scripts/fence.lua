-- Behind record.lua in front of every script: the fence. ARGV ends with the caller's clock.

-- A stored term or epoch.
local function stamp(value)
  return clock_made(value, tonumber(ARGV[#ARGV]))
end

-- Whether a term or an epoch must not be written: other processes would take it for invalid. Only Redis's clock counts.
local function is_ahead(value)
  return tonumber(value) > now_ms() + DAY_MS
end

-- When a lease or a hold of the term ends: at most its TTL from now. A later end comes from a wrong clock or another
-- program; the corrected one is written down, so that it lapses.
local function ends_at(expires, ttl)
  expires, ttl = tonumber(number(expires)), tonumber(number(ttl or '60000'))
  -- A coordinator's TTL is at most a day. Under a larger one a lease that another program has written would not lapse.
  if ttl > DAY_MS then malformed = true end
  local latest = now_ms() + ttl
  if malformed or expires <= latest then return expires end
  redis.call('HSET', KEYS[1], 'expires_at_ms', text(latest))
  return latest
end
