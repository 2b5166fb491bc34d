-- No ARGV.
if malformed then return {'MALFORMED'} end
if not stored[4] then return {'NONE'} end
return {'HEAD', epoch, total, age(), records()}
