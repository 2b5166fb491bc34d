-- Appends a shard's entries above the fence's position.
-- KEYS: common (ms, number of the last id, generation of the numbers, ms of the newest entry in the index), streams (name -> first id that was not cut), the shard's fence,
-- the index (number -> id, of some entries), the streams.
-- ARGV: epoch, expected session and sequence ('' when unknown), shard, the number of streams, the most streams of unknown names;
-- for each stream its name, its length, and 1 when its name is known, else 0. The last stream takes entries without a stream of their own:
-- entries of names beyond the most, and of names whose key belongs to another program;
-- then for each entry: place of its stream (0: none), session, sequence, guild, received_at, late, traceparent, data.
local common, streams, fence, index = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
-- The index has every 256th entry, and the first one in each second; its bound is 65,536 entries.
local INDEXED, INDEXED_MS, MOST_INDEXED = 256, 1000, 65536
local epoch = tonumber(ARGV[1])

local function later(session, sequence, than_session, than_sequence)
  return session > than_session or (session == than_session and sequence > than_sequence)
end

local held = read_fence(fence, epoch)
if held[1] and tonumber(held[1]) > epoch then
  return { 'OUTRANKED', held[1] }
end
-- No session has ordinal 0: ordinals are larger.
local session, sequence = tonumber(held[2] or '0'), tonumber(held[3] or '0')
if ARGV[2] ~= '' and later(tonumber(ARGV[2]), tonumber(ARGV[3]), session, sequence) then
  redis.call('HSET', fence, 'epoch', ARGV[1])
  -- Numbers that were given out may be given to other entries. A generation that was lost must not come again.
  local generation = tonumber(redis.call('HGET', common, 'generation') or '0') or 0
  redis.call('HSET', common, 'generation', string.format('%.0f', math.max(now_ms(), generation + 1)))
  return { 'LOST', held[2] or '', held[3] or '' }
end

local now = now_ms()
local last = redis.call('HMGET', common, 'ms', 'number', 'generation', 'indexed')
local ms = math.max(now, tonumber(last[1] or '0') or 0)
-- Beyond these no id can be made. An id that a stream has had already is passed below.
if ms > 1e15 then ms = now end
if (tonumber(last[2] or '0') or 1e15) >= 1e15 then redis.call('HSET', common, 'number', '0') end
if not last[3] then
  redis.call('HSET', common, 'generation', string.format('%.0f', now))
  redis.call('ZADD', index, last[2] or '0', string.format('%.0f-%s', ms, last[2] or '0'))
end
local indexed = tonumber(last[4] or '0') or 0
local count, first = tonumber(ARGV[5]), 7 + 3 * tonumber(ARGV[5])
local appended, touched = 0, {}

local room, stream_of = tonumber(ARGV[6]) - redis.call('HLEN', streams), {}
for place = 1, count do
  stream_of[place] = place
  if ARGV[6 + 3 * place] == '0' and redis.call('HEXISTS', streams, ARGV[4 + 3 * place]) == 0 then
    if room <= 0 then
      stream_of[place] = count
    end
    room = room - 1
  end
end

local function last_id(key)
  local info = redis.call('XINFO', 'STREAM', key)
  for at = 1, #info, 2 do
    if info[at] == 'last-generated-id' then
      return info[at + 1]
    end
  end
end

local function failed(answer)
  return type(answer) == 'table' and answer.err
end

local function add(key, at)
  local number = redis.call('HINCRBY', common, 'number', 1)
  if number % INDEXED == 0 or math.abs(ms - indexed) >= INDEXED_MS then
    indexed = ms
    redis.call('ZADD', index, number, string.format('%.0f-%.0f', ms, number))
    redis.call('ZREMRANGEBYRANK', index, 0, -MOST_INDEXED - 1)
  end
  local function try()
    return redis.pcall('XADD', key, string.format('%.0f-%.0f', ms, number),
      'data', ARGV[at + 7], 'shard', ARGV[4], 'guild', ARGV[at + 3], 'position', ARGV[at + 1] .. '-' .. ARGV[at + 2],
      'received_at', ARGV[at + 4], 'late', ARGV[at + 5], 'traceparent', ARGV[at + 6])
  end
  local added = try()
  if failed(added) and not string.find(added.err, 'WRONGTYPE') then
    -- The stream has had a later id, of somebody else or of a clock that went ahead: on from there.
    ms = math.max(ms, tonumber(string.match(last_id(key), '^%d+')) + 1)
    added = try()
  end
  return added
end

-- Nothing is undone when an entry can't be added: what was added before it counts, and is noted below.
local foreign, failure = 0, nil
for at = first, #ARGV, 8 do
  local entry_session, entry_sequence = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  if later(entry_session, entry_sequence, session, sequence) then
    local place = stream_of[tonumber(ARGV[at])]
    local added = place and add(KEYS[4 + place], at)
    if failed(added) and string.find(added.err, 'WRONGTYPE') then
      -- Somebody else's key.
      foreign, place = foreign + 1, count
      added = add(KEYS[4 + count], at)
    end
    if failed(added) and string.find(added.err, 'WRONGTYPE') then
      -- That one too: the event is left out, or nothing would be relayed any more.
      place = nil
    elseif failed(added) then
      failure = added
      break
    elseif place then
      touched[place] = true
    end
    appended = appended + 1
    session, sequence = entry_session, entry_sequence
    held[2], held[3] = ARGV[at + 1], ARGV[at + 2]
  end
end

redis.call('HSET', fence, 'epoch', ARGV[1])
local cut = 0
if appended > 0 then
  redis.call('HSET', fence, 'session', held[2], 'sequence', held[3])
  redis.call('HSET', common, 'ms', string.format('%.0f', ms), 'indexed', string.format('%.0f', indexed))
  for place = 1, count do
    if touched[place] then
      local key, name = KEYS[4 + place], ARGV[4 + 3 * place]
      redis.call('HSETNX', streams, name, '0-0')
      local gone = redis.call('XTRIM', key, 'MAXLEN', '~', ARGV[5 + 3 * place])
      if gone > 0 then
        cut = cut + gone
        local left = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)
        redis.call('HSET', streams, name, left[1][1])
      end
    end
  end
end
if failure then
  return failure
end
return { 'DONE', held[2] or '', held[3] or '', tostring(appended), tostring(cut), tostring(foreign) }
