-- Behind record.lua in front of every script. KEYS: the shard's owner, its checkpoint. Reads the fencing epochs.
local stored = redis.call('HMGET', KEYS[2], '.epoch', '.serial', '.total', '.written_at_ms')
local exists, epoch, serial = stored[1], number(stored[1]), number(stored[2])
local total, written_at = number(stored[3]), number(stored[4])
if #serial > 15 or #written_at > 15 then malformed = true end

-- The highest known epoch: the checkpoint's or the owner's.
local highest = number(redis.call('HGET', KEYS[1], 'epoch'))
if below(highest, epoch) then highest = epoch end

-- Returns the number of records: all fields except those about the whole checkpoint.
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
