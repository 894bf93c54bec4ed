#!lua
-- Compares and sets the alert states of some sensors of one partition, so that one server announces a change.
--
-- KEYS  statistics (hash)
-- ARGV  per sensor its id and a packed string: the state it must have, the state it gets, alerts begun
-- Returns a byte per sensor: 1 if it was changed
local won = {}
for i = 1, #ARGV, 2 do
  local expected, state, begun = struct.unpack('<BBI4', ARGV[i + 1])
  local raw = redis.call('HGET', KEYS[1], ARGV[i])
  local same = false
  if raw then
    local layout, current, alerts, at = struct.unpack('<BBI4', raw)
    same = current == expected
    if same then
      redis.call('HSET', KEYS[1], ARGV[i], struct.pack('<BBI4', layout, state, alerts + begun) .. string.sub(raw, at))
    end
  end
  won[#won + 1] = same and '\1' or '\0'
end
return table.concat(won)
