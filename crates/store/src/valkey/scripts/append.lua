#!lua
-- Stores the readings of some sensors: stream, statistics, index, totals and notification in one step.
--
-- KEYS  per partition: statistics (hash; its name is also that of the notification channel), index by last seen
--       (sorted set), names (sorted set), then one stream per item; no sensor twice. While a slot is being moved a
--       cluster serves only keys that exist
-- ARGV  per item its readings of 16 bytes; last a packed string: bounds (readings a sensor, sensors and readings in a
--       partition) and idle time in ms; then per partition the number of its items (a byte), and per item its summary
--       (mean, M2, min, max)
-- Returns a packed string. Per partition: sensors (counted if there are no items), readings held, sensors expired and
--       readings expired with them; then per item 0 or why it was rejected, the alert state, the readings before it, and
--       how many older ones were evicted
--
-- A stream entry is named after the sequence number of its last reading, so that XADD MINID evicts by number.
--
-- A sensor's record (RECORD), as `struct.unpack` returns it. docs/store.md has the same table:
--    1 layout   B   version of this record         8 m2       d  sum of squared distances from the mean
--    2 state    B   alert state                    9 min      d
--    3 alerts   I4  alerts begun                  10 max      d
--    4 created  d   ms; tells it from an earlier  11 seen     d  ms, last append
--                   sensor of the same name       12 indexed  d  ms, `seen` as the index has it
--    5 before   d   readings ever                 13 rest        where the last reading (16 bytes) begins
--    6 own      d   readings held
--    7 mean     d   Welford's running mean
-- (5 and 6 are `count` and `held` in record.rs.) A record or the totals may grow at their end in a later release: what
-- follows the known fields is written back as it was read.
--
-- Eviction: a sensor may hold `per_sensor` readings, the partition `max_readings`. `growth` is how many of the new
-- readings find room under both; each of the others evicts the sensor's own oldest. So a sensor never evicts another's,
-- and `own` never shrinks by an append unless a bound was lowered.
--
-- Order within an item: expire the sensor if it was idle, create it if it is unknown and there is room, then append. An
-- item is judged after the items before it, so the bounds hold within one call too.
--
-- Most of the time goes into calls and tables, so an item makes one table entry of each kind and no table, and the steps
-- are not functions of their own.
local RECORD, TOTALS = '<BBI4ddddddddd', '<Bdd'
local TOO_MANY_SENSORS, FULL = 1, 2
-- The totals' field in the hash. Sensor ids are UTF-8, in which this byte does not occur.
local TOTALS_FIELD = '\255'

local KEYS, ARGV, call, sub, format = KEYS, ARGV, redis.call, string.sub, string.format
local pack, read = struct.pack, struct.unpack
local packed = ARGV[#ARGV]
local per_sensor, max_sensors, max_readings, idle, at = read('<dddd', packed)
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answers = {}

-- Appends a partition's items. Its keys and its items' readings follow those numbers.
local function append(key_at, argument_at, count_items)
  local statistics, index, names = KEYS[key_at + 1], KEYS[key_at + 2], KEYS[key_at + 3]
  local ids = {}
  for i = 1, count_items do ids[i] = sub(KEYS[key_at + 3 + i], #statistics + 2) end
  ids[count_items + 1] = TOTALS_FIELD
  local known = call('HMGET', statistics, unpack(ids))
  local totals, totals_rest = known[count_items + 1], ''
  local held, prune_at = 0, 0
  if totals then
    local _, rest
    _, held, prune_at, rest = read(TOTALS, totals)
    totals_rest = sub(totals, rest)
  end
  local old_held, old_prune_at = held, prune_at
  local expired_sensors, expired_readings = 0, 0
  -- Counted when it is needed: most calls do not.
  local sensors
  local function count_sensors()
    sensors = sensors or call('HLEN', statistics) - (totals and 1 or 0)
    return sensors
  end

  local function expire(id, key, readings)
    count_sensors()
    call('UNLINK', key)
    call('HDEL', statistics, id)
    call('ZREM', index, id)
    call('ZREM', names, id)
    held = held - readings
    sensors = sensors - 1
    expired_sensors = expired_sensors + 1
    expired_readings = expired_readings + readings
  end

  -- Expire idle sensors, at most 16 a call and 16 times in the idle time. The index lags behind by up to a sixteenth of
  -- it, so a candidate from the index is judged by its record, and put back if it was seen since.
  if now >= prune_at then
    local late = call('ZRANGE', index, '-inf', now - idle, 'BYSCORE', 'LIMIT', 0, 16)
    for _, id in ipairs(late) do
      local raw = call('HGET', statistics, id)
      if not raw then
        call('ZREM', index, id)
      else
        local _, _, _, _, _, readings, _, _, _, _, seen = read(RECORD, raw)
        if now - seen >= idle then
          expire(id, sub(statistics, 1, -2) .. 'd:' .. id, readings)
        else
          call('ZADD', index, seen, id)
        end
      end
    end
    prune_at = #late == 16 and now or now + idle / 16
    if expired_sensors > 0 then known = call('HMGET', statistics, unpack(ids)) end
  end

  local fields, outcomes, stored = {}, {}, 0
  for i = 1, count_items do
    local id, key, readings, raw = ids[i], KEYS[key_at + 3 + i], ARGV[argument_at + i], known[i]
    local mean, m2, min, max
    mean, m2, min, max, at = read('<dddd', packed, at)
    local layout, state, alerts, created, before, own, old_mean, old_m2, old_min, old_max, seen, indexed, rest
    if raw then
      layout, state, alerts, created, before, own, old_mean, old_m2, old_min, old_max, seen, indexed, rest =
        read(RECORD, raw)
      if now - seen >= idle then
        expire(id, key, own)
        raw = false
      end
    end
    local rejected = 0
    if not raw then
      if held >= max_readings then
        rejected = FULL
      elseif count_sensors() >= max_sensors then
        rejected = TOO_MANY_SENSORS
      else
        -- The record may have been lost to an eviction policy and the stream not: its numbers would not fit.
        call('UNLINK', key)
        layout, state, alerts, created, before, own, old_mean, old_m2, old_min, old_max, indexed =
          1, 0, 0, now, 0, 0, 0, 0, min, max, 0
        sensors = sensors + 1
        call('ZADD', names, 0, id)
      end
    end
    if rejected == 0 then
      local count = #readings / 16
      local growth, room = per_sensor - own, max_readings > held and max_readings - held or 0
      if count < growth then growth = count end
      if room < growth then growth = room end
      held, own = held + growth, own + growth
      local total, delta = before + count, mean - old_mean
      local step = delta * count / total
      if old_min < min then min = old_min end
      if old_max > max then max = old_max end
      if now - indexed >= idle / 16 then
        call('ZADD', index, now, id)
        indexed = now
      end
      if growth < count then
        call('XADD', key, 'MINID', '~', format('%d', total - own + 1), format('%d', total), 'r', readings)
      else
        call('XADD', key, format('%d', total), 'r', readings)
      end
      local last = sub(readings, -16)
      if raw and #raw > rest + 15 then last = last .. sub(raw, rest + 16) end
      fields[stored + 1] = id
      stored = stored + 2
      fields[stored] = pack('<BBI4dddddddddc0', layout, state, alerts, created, total, own, old_mean + step,
        old_m2 + m2 + step * delta * before, min, max, now, indexed, last)
      outcomes[i] = pack('<BBdd', 0, state, before, count - growth)
    else
      outcomes[i] = pack('<BBdd', rejected, 0, 0, 0)
    end
  end

  if held ~= old_held or prune_at ~= old_prune_at then
    fields[#fields + 1] = TOTALS_FIELD
    fields[#fields + 1] = pack(TOTALS, 1, held, prune_at) .. totals_rest
  end
  if #fields > 0 then call('HSET', statistics, unpack(fields)) end
  if stored > 0 then call('SPUBLISH', statistics, table.concat(ids, '\0', 1, count_items)) end
  if count_items == 0 then count_sensors() end
  answers[#answers + 1] = pack('<dddd', sensors or 0, held, expired_sensors, expired_readings) .. table.concat(outcomes)
end

local key_at, argument_at = 0, 0
repeat
  local count_items
  count_items, at = read('<B', packed, at)
  append(key_at, argument_at, count_items)
  key_at, argument_at = key_at + 3 + count_items, argument_at + count_items
until key_at == #KEYS
return table.concat(answers)
