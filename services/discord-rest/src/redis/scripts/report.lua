-- KEYS: token, routes, learning, breaker, invalid. ARGV: permit, pattern, major, the prefix of bucket keys, good or bad for the
-- token or empty, whether the request was invalid, the limit of invalid requests, whether the route has no bucket, a 429's scope or empty, its
-- wait; and if the answer named a bucket: its name, limit, remaining, reset after, reset.
local permit, pattern, major, prefix = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local now = now_ms()
for place, kind in ipairs({'hash', 'hash', 'string', 'string', 'hash'}) do only(kind, KEYS[place]) end

if ARGV[5] == 'good' then
  redis.call('HSET', KEYS[1], 'good', text(now), 'refusals', '0', 'refused_until', '0')
  redis.call('PEXPIRE', KEYS[1], text(CALLER_MS))
elseif ARGV[5] == 'bad' then
  local refusals = number(redis.call('HGET', KEYS[1], 'refusals')) + 1
  redis.call('HSET', KEYS[1], 'refusals', text(refusals))
  local good = number(redis.call('HGET', KEYS[1], 'good'))
  if good + GOOD_MS <= now or refusals >= IN_A_ROW then
    redis.call('HSET', KEYS[1], 'refused_until', text(now + REFUSED_MS))
  end
  redis.call('PEXPIRE', KEYS[1], text(CALLER_MS))
end

local learned = route(KEYS[2], pattern)
redis.call('ZREM', flights_key(bucket_key(prefix, learned, pattern, major)), permit)
if redis.call('GET', KEYS[3]) == permit then redis.call('DEL', KEYS[3]) end

local seen = nil
if ARGV[11] then
  seen = {bucket = ARGV[11], limit = tonumber(ARGV[12]), remaining = tonumber(ARGV[13]), after = tonumber(ARGV[14]),
    reset = tonumber(ARGV[15])}
end
local new = nil
if seen then
  -- Only the first request of a window tells its whole length.
  local period = seen.after
  if learned and learned.bucket == seen.bucket and seen.remaining + 1 ~= seen.limit then
    period = math.max(period, learned.period)
  end
  new = {bucket = seen.bucket, limit = seen.limit, period = period}
elseif ARGV[8] == '1' and not learned then
  new = {bucket = '', limit = 0, period = 0}
end
if new then
  if redis.call('HLEN', KEYS[2]) >= MOST_ROUTES then redis.call('DEL', KEYS[2]) end
  redis.call('HSET', KEYS[2], pattern, new.bucket .. ' ' .. text(new.limit) .. ' ' .. text(new.period))
  redis.call('PEXPIRE', KEYS[2], text(CALLER_MS))
  learned = new
end

local key = bucket_key(prefix, learned, pattern, major)
local scope, until_ms = ARGV[9], now + tonumber(ARGV[10])
local stops = scope == 'user' or scope == 'shared'
if seen or stops then
  local bucket = read_bucket(key, now)
  if seen then
    local ends = now + seen.after
    -- Where Discord does not say by its own clock, the ends by ours are compared, as far apart as answers are late.
    local told, known, apart = 1, 0, 0
    if seen.reset > 0 and bucket.reset > 0 then
      told, known, apart = seen.reset, bucket.reset, SAME_MS
    elseif bucket.sure then
      told, known, apart = ends, bucket.ends, SAME_MS * 5
    end
    if told > known + apart then
      if bucket.sure or bucket.ends == 0 then
        bucket.left = math.max(0, seen.remaining - redis.call('ZCARD', flights_key(key)))
      else
        -- The window was opened here, so only requests of other programs are unknown.
        bucket.left = math.min(bucket.left, seen.remaining)
      end
      bucket.ends, bucket.reset, bucket.sure = ends, seen.reset, true
    elseif told + apart >= known and bucket.sure then
      bucket.left = math.min(bucket.left, seen.remaining)
      bucket.ends = math.min(bucket.ends, ends)
    end
  end
  if stops then bucket.stopped = math.max(bucket.stopped, until_ms) end
  write_bucket(key, bucket, now)
end

-- Opens the breaker, or holds it open for longer.
local function open_until(when, why)
  if when > now and when - now > redis.call('PTTL', KEYS[4]) then redis.call('SET', KEYS[4], why, 'PX', text(when - now)) end
end

if scope == 'global' then
  local blocked = wait_until(redis.call('HGET', KEYS[1], 'blocked'), now)
  redis.call('HSET', KEYS[1], 'blocked', text(math.max(blocked, until_ms)))
  redis.call('PEXPIRE', KEYS[1], text(CALLER_MS))
elseif scope == 'address' then
  open_until(math.min(until_ms, now + LONGEST_BAN_MS), 'address')
end

local invalid = '-'
if ARGV[6] == '1' then
  local slot_now = text(math.floor(now / SLOT_MS))
  redis.call('HSET', KEYS[5], slot_now, text(number(redis.call('HGET', KEYS[5], slot_now)) + 1))
  redis.call('PEXPIRE', KEYS[5], text(INVALID_MS + SLOT_MS))
  local slots, sum, all = {}, 0, redis.call('HGETALL', KEYS[5])
  for index = 1, #all, 2 do
    local slot, count = number(all[index]), number(all[index + 1])
    local leaves = (slot + 1) * SLOT_MS + INVALID_MS
    if leaves <= now then
      redis.call('HDEL', KEYS[5], all[index])
    else
      table.insert(slots, {leaves = leaves, count = count})
      sum = sum + count
    end
  end
  invalid = text(sum)
  local limit = tonumber(ARGV[7])
  if sum >= limit then
    -- Until a twentieth is free again, or it would open and close with every request.
    table.sort(slots, function(a, b) return a.leaves < b.leaves end)
    local target = math.max(0, limit - math.max(1, math.floor(limit / 20)))
    local left, last = sum, now
    for _, slot in ipairs(slots) do
      left, last = left - slot.count, slot.leaves
      if left <= target then break end
    end
    open_until(last, 'invalid')
  end
end
local open, why = read_breaker(KEYS[4])
return {invalid, text(open), why}
