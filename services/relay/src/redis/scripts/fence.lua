-- In front of the scripts that move a fence.
local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Returns the epoch, session and sequence of a fence. Epochs are made from a clock: one that is more than a day ahead of Redis's and of the
-- caller's epoch is no owner's, and fences nothing.
local function read_fence(key, epoch)
  local held = redis.call('HMGET', key, 'epoch', 'session', 'sequence')
  local known = tonumber(held[1] or '0')
  if not known or known > math.max(now_ms(), epoch) + 86400000 then held[1] = false end
  return held
end
