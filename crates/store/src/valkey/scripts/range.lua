#!lua flags=no-writes
-- Readings of a sensor by sequence number.
--
-- KEYS  statistics (hash), the sensor's stream
-- ARGV  the sensor's id, sequence numbers of the first and the last reading wanted (or + for the newest), how many
--       stream entries at most
-- Returns the sensor's record (or nothing), how many entries there were, the name of the last one, and their readings;
--       between entries no number is missing, and the first may begin before what is wanted
local record = redis.call('HGET', KEYS[1], ARGV[1])
local entries = redis.call('XRANGE', KEYS[2], ARGV[2], ARGV[3], 'COUNT', ARGV[4])
local parts = {}
for i, entry in ipairs(entries) do parts[i] = entry[2][2] end
return { record, #entries, #entries > 0 and entries[#entries][1] or '', table.concat(parts) }
