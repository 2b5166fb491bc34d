-- No ARGV.
if malformed then return {'ALIEN'} end
if not stored[4] then return {'NONE'} end
return {'HEAD', epoch, total, age(), records()}
