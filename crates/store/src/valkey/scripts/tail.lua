#!lua flags=no-writes
-- The newest readings of some sensors of one partition.
--
-- KEYS  statistics (hash), then one stream per sensor
-- ARGV  how many readings, length of a stream key before the sensor's id, then per sensor the sequence number of the
--       last reading wanted, or + for the newest
-- Returns per sensor its record (or nothing) and its readings, oldest first
local wanted, prefix, answers = tonumber(ARGV[1]), tonumber(ARGV[2]), {}
for i = 2, #KEYS do
  local key, upto, parts, have = KEYS[i], ARGV[i + 1], {}, 0
  repeat
    local entries = redis.call('XREVRANGE', key, upto, '-', 'COUNT', 4)
    for _, entry in ipairs(entries) do
      if have < wanted then
        table.insert(parts, 1, entry[2][2])
        have = have + #entry[2][2] / 16
      end
      upto = '(' .. entry[1]
    end
  until have >= wanted or #entries < 4
  answers[#answers + 1] = redis.call('HGET', KEYS[1], string.sub(key, prefix + 1))
  answers[#answers + 1] = string.sub(table.concat(parts), -wanted * 16)
end
return answers
