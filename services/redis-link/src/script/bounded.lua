-- Bytes that the strings of the answer may have.
local most = MOST

local function run()
CODE
end

local function size(answer)
  if type(answer) == 'string' then return #answer end
  local bytes = 0
  if type(answer) == 'table' then
    for place = 1, #answer do bytes = bytes + size(answer[place]) end
  end
  return bytes
end

local answer = run()
local bytes = size(answer)
if bytes > most then
  return redis.error_reply('TOOLARGE the answer has ' .. string.format('%.0f', bytes) .. ' bytes')
end
return answer
