-- Behind record.lua in front of every script. KEYS: the shard's owner, its checkpoint. Reads the fencing epochs.
local stored = redis.call('HMGET', KEYS[2], '.epoch', '.serial', '.total', '.written_at_ms')
-- Most scripts have the caller's epoch first; it is as good as a clock.
local clock = tonumber(ARGV[1]) or 0
local exists, epoch, serial = stored[1], clock_made(stored[1], clock), number(stored[2])
local total, written_at = number(stored[3]), number(stored[4])
if #serial > 15 or #written_at > 15 then malformed = true end

-- The highest known epoch: the checkpoint's or the owner's.
local highest = clock_made(redis.call('HGET', KEYS[1], 'epoch'), clock)
if below(highest, epoch) then highest = epoch end

-- Returns the bytes of the head. A script must look before it reads a head: Redis copies the whole value into the script.
local function head_size()
  return redis.call('HSTRLEN', KEYS[2], '.head')
end

-- Returns the number of records: all fields except those about the whole checkpoint.
local function records()
  local about = redis.call('HMGET', KEYS[2], '.epoch', '.serial', '.total', '.written_at_ms')
  local count = redis.call('HLEN', KEYS[2])
  for place = 1, 4 do
    if about[place] then count = count - 1 end
  end
  if head_size() > 0 then count = count - 1 end
  return text(count)
end

local function age()
  return text(math.max(0, now_ms() - tonumber(written_at)))
end
