-- KEYS: token, turns, routes, learning, breaker. ARGV: permit, pattern, major, the prefix of bucket keys, requests a second (0: no
-- global limit), the longest wait.
local permit, pattern, major, prefix = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local per_second, patience = tonumber(ARGV[5]), tonumber(ARGV[6])
local now = now_ms()
for place, kind in ipairs({'hash', 'list', 'hash', 'string'}) do only(kind, KEYS[place]) end

local open, why = read_breaker(KEYS[5])
if open > 0 then return {why == 'address' and 'BLOCKED' or 'BREAKER', text(open)} end
local token = redis.call('HMGET', KEYS[1], 'refused_until', 'blocked')
local refused, blocked = wait_until(token[1], now), wait_until(token[2], now)
if refused > now then return {'TOKEN', text(refused - now)} end

local learned = route(KEYS[3], pattern)
if not learned then
  local learner = redis.call('GET', KEYS[4])
  local ends_in = redis.call('PTTL', KEYS[4])
  -- One without an end would never end.
  if learner and learner ~= permit and ends_in >= 0 then
    return {'LEARNING', text(math.max(1, math.min(POLL_MS, ends_in)))}
  end
end

local key = bucket_key(prefix, learned, pattern, major)
local bucket = read_bucket(key, now)
if bucket.stopped > now then return {'BUCKET', text(bucket.stopped - now)} end
local limit = learned and learned.limit or 0
if limit > 0 then
  if bucket.ends <= now then
    redis.call('ZREMRANGEBYSCORE', flights_key(key), '-inf', text(now))
    bucket.left = math.max(0, limit - redis.call('ZCARD', flights_key(key)))
    bucket.ends, bucket.sure = 0, false
  end
  if bucket.left == 0 then return {'BUCKET', text(bucket.sure and bucket.ends - now or POLL_MS)} end
end

local at = now
if per_second > 0 then
  at = math.max(now, blocked)
  local count, last = redis.call('LLEN', KEYS[2]), number(redis.call('LINDEX', KEYS[2], -1))
  if last > at + KEPT_MS then
    -- No request waits that long: the clock was set back.
    redis.call('DEL', KEYS[2])
    count, last = 0, 0
  end
  at = math.max(at, last)
  if count >= per_second then
    at = math.max(at, number(redis.call('LINDEX', KEYS[2], count - per_second)) + WINDOW_MS)
  end
  if at - now > patience then return {'GLOBAL', text(at - now)} end
  redis.call('RPUSH', KEYS[2], text(at))
  redis.call('LTRIM', KEYS[2], -per_second, -1)
  redis.call('PEXPIRE', KEYS[2], text(at - now + WINDOW_MS))
end

if not learned then redis.call('SET', KEYS[4], permit, 'PX', text(LEARN_MS)) end
if limit > 0 then
  bucket.left = bucket.left - 1
  if bucket.ends == 0 then bucket.ends = at + learned.period + PRESUMED_MS end
  write_bucket(key, bucket, now)
  redis.call('ZADD', flights_key(key), text(at + FLIGHT_MS), permit)
  redis.call('PEXPIRE', flights_key(key), text(at - now + FLIGHT_MS))
end
return {'GO', text(at - now)}
