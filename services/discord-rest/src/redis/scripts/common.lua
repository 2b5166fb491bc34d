-- In front of every script, behind the constants.

-- How long a key outlives the state that it holds.
local KEPT_MS = 60000
-- How long the state of a token and its routes is kept after the last request.
local CALLER_MS = 86400000

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A double as decimal text: milliseconds stay far below 2^53.
local function text(value)
  return string.format('%.0f', value)
end

local function number(value)
  return tonumber(value or '0') or 0
end

-- A time until which a token's requests wait. Its key lives for CALLER_MS, so a later time is another program's and counts for nothing.
local function wait_until(value, now)
  local at = number(value)
  return at <= now + CALLER_MS and at or 0
end

-- Removes a key of another type than its own: another program has written it, and nothing else would remove it.
local function only(kind, key)
  local is = redis.call('TYPE', key).ok
  if is ~= kind and is ~= 'none' then redis.call('DEL', key) end
end

-- What is known of a route; nil when nothing is.
local function route(key, pattern)
  local bucket, limit, period = string.match(redis.call('HGET', key, pattern) or '', '^(%S*) (%d+) (%d+)$')
  if not bucket then return nil end
  return {bucket = bucket, limit = tonumber(limit), period = tonumber(period)}
end

-- Which bucket a request is in: the one that its route is known to have, else one of the route itself.
local function bucket_key(prefix, learned, pattern, major)
  local name = pattern
  if learned and learned.bucket ~= '' then name = learned.bucket end
  return prefix .. name .. ' ' .. major
end

-- Requests of a bucket that are under way.
local function flights_key(key)
  return key .. ' flights'
end

local function read_bucket(key, now)
  only('hash', key)
  only('zset', flights_key(key))
  local fields = redis.call('HMGET', key, 'left', 'ends', 'reset', 'sure', 'stopped')
  return {left = number(fields[1]), ends = wait_until(fields[2], now), reset = number(fields[3]), sure = fields[4] == '1',
    stopped = wait_until(fields[5], now)}
end

local function write_bucket(key, bucket, now)
  redis.call('HSET', key, 'left', text(bucket.left), 'ends', text(bucket.ends), 'reset', text(bucket.reset),
    'sure', bucket.sure and '1' or '0', 'stopped', text(bucket.stopped))
  redis.call('PEXPIRE', key, text(math.max(bucket.ends, bucket.stopped, now) - now + KEPT_MS))
end

-- How long all requests are stopped, or 0; and why: 'address' for a block, 'invalid' or '1' for too many invalid requests.
local function read_breaker(key)
  only('string', key)
  local left = redis.call('PTTL', key)
  if left <= 0 then return 0, '' end
  return left, redis.call('GET', key) or ''
end

