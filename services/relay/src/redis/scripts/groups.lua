-- Returns the progress of a stream's consumer groups.
-- KEYS: the stream.
-- Answers for each group: name, entries that it has not read ('' when Redis can't tell, as before 7.0), entries that it has read and not
-- acknowledged, entries that were cut off unread since the last call.
local function fields(flat)
  local named = {}
  for at = 1, #flat, 2 do
    named[flat[at]] = flat[at + 1]
  end
  return named
end

local function number(id)
  local ms, rest = string.match(id, '^(%d+)-(%d+)$')
  return { tonumber(ms), tonumber(rest) }
end

local function before(id, other)
  local a, b = number(id), number(other)
  return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2])
end

local key = KEYS[1]
if redis.call('EXISTS', key) == 0 then
  return {}
end
local groups = redis.call('XINFO', 'GROUPS', key)
local answer = {}
if #groups == 0 then
  return answer
end
local stream = fields(redis.call('XINFO', 'STREAM', key))
local added, length = stream['entries-added'], stream['length']
local first = stream['first-entry'] and stream['first-entry'][1]
for _, flat in ipairs(groups) do
  local group = fields(flat)
  local read, lag, cut = group['entries-read'], group['lag'], 0
  local last = group['last-delivered-id']
  if added and lag and not read then
    -- It has not read yet, so Redis has no count: from here on it has one, and what is cut off unread can be told.
    read = added - lag
    redis.call('XGROUP', 'SETID', key, group['name'], last, 'ENTRIESREAD', string.format('%.0f', read))
  end
  if added and read then
    -- Redis counts what was cut off unread as unread for good. Where a group is past the end, or before the beginning, it can be told how
    -- many it should have read by now.
    local reached
    if not before(last, stream['last-generated-id']) then
      reached = added
    elseif not first or before(last, first) then
      reached = added - length
    end
    if reached and reached > read then
      cut = reached - read
      redis.call('XGROUP', 'SETID', key, group['name'], last, 'ENTRIESREAD', string.format('%.0f', reached))
      lag = added - reached
    end
  end
  table.insert(answer, group['name'])
  table.insert(answer, lag and string.format('%.0f', lag) or '')
  table.insert(answer, string.format('%.0f', group['pending']))
  table.insert(answer, string.format('%.0f', cut))
end
return answer
