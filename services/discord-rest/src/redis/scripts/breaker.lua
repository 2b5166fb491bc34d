-- KEYS: breaker.
local open, why = read_breaker(KEYS[1])
return {text(open), why}
