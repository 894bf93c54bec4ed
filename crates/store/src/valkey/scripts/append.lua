#!lua
-- Takes the readings of some sensors of one partition in: data, statistics, index, bounds and news in one step.
--
-- KEYS  statistics (hash), index by last seen (sorted set), names (sorted set), meta (string, and the channel for
--       news), then one stream per item
-- ARGV  bounds: readings a sensor, sensors and readings in this partition, idle time in ms, length of a stream key
--       before the sensor's id; then per item its summary (count, mean, M2, min, max) and its readings of 16 bytes
-- Returns a packed string: sensors (counted if there are no items) and readings held here, sensors forgotten and
--       readings gone with them; then per item 0 or why it was refused, the alert state, the readings before it, and how many older ones went
--
-- A stream entry is named after the sequence number of its last reading, so that the oldest are cut off by number.
-- A record or meta may grow at its end in a later release: what follows the known fields is kept.
local RECORD, META = '<BBI4ddddddddd', '<Bdd'
local TOO_MANY_SENSORS, FULL = 1, 2

local statistics, index, names, meta_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local per_sensor, max_sensors, max_readings, idle, prefix = struct.unpack('<ddddd', ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local meta = redis.call('GET', meta_key)
local held, prune_at, meta_rest = 0, 0, ''
if meta then
  local _, at
  _, held, prune_at, at = struct.unpack(META, meta)
  meta_rest = string.sub(meta, at)
end
local old_held, old_prune_at = held, prune_at
local forgotten, expired = 0, 0
-- Asked for when it is needed.
local sensors
local function count_sensors()
  sensors = sensors or redis.call('HLEN', statistics)
  return sensors
end

local function unpack_record(raw)
  local r, at = {}, nil
  r.layout, r.state, r.alerts, r.born, r.count, r.held, r.mean, r.m2, r.min, r.max, r.seen, r.indexed, at =
    struct.unpack(RECORD, raw)
  r.rest = string.sub(raw, at + 16)
  return r
end

local function pack_record(r)
  return struct.pack(RECORD, r.layout, r.state, r.alerts, r.born, r.count, r.held, r.mean, r.m2, r.min, r.max,
    r.seen, r.indexed) .. r.last .. r.rest
end

local function forget(id, key, r)
  count_sensors()
  redis.call('UNLINK', key)
  redis.call('HDEL', statistics, id)
  redis.call('ZREM', index, id)
  redis.call('ZREM', names, id)
  held = held - r.held
  sensors = sensors - 1
  forgotten = forgotten + 1
  expired = expired + r.held
end

-- The index is brought up to date seldom; a sensor is judged by its record.
if now >= prune_at then
  local late = redis.call('ZRANGE', index, '-inf', now - idle, 'BYSCORE', 'LIMIT', 0, 16)
  for _, id in ipairs(late) do
    local raw = redis.call('HGET', statistics, id)
    local r = raw and unpack_record(raw)
    if not r then
      redis.call('ZREM', index, id)
    elseif now - r.seen >= idle then
      forget(id, string.sub(meta_key, 1, -2) .. 'd:' .. id, r)
    else
      redis.call('ZADD', index, r.seen, id)
    end
  end
  prune_at = #late == 16 and now or now + idle / 16
end

local ids = {}
for i = 5, #KEYS do ids[i - 4] = string.sub(KEYS[i], prefix + 1) end
local known = #ids > 0 and redis.call('HMGET', statistics, unpack(ids)) or {}
local records, outcomes, stored = {}, {}, {}

for i, id in ipairs(ids) do
  local key, readings = KEYS[i + 4], ARGV[i * 2 + 1]
  local count, mean, m2, min, max = struct.unpack('<ddddd', ARGV[i * 2])
  local r = records[id] or known[i] and unpack_record(known[i])
  if r and now - r.seen >= idle then
    forget(id, key, r)
    r = nil
  end
  local refusal = 0
  if not r then
    if held >= max_readings then
      refusal = FULL
    elseif count_sensors() >= max_sensors then
      refusal = TOO_MANY_SENSORS
    else
      -- What an eviction policy may have left of an earlier one of the same name.
      redis.call('UNLINK', key)
      r = { layout = 1, state = 0, alerts = 0, born = now, count = 0, held = 0, mean = 0, m2 = 0, min = min,
        max = max, indexed = 0, rest = '' }
      sensors = sensors + 1
      redis.call('ZADD', names, 0, id)
    end
  end
  if refusal == 0 then
    local growth = math.min(count, per_sensor - r.held, math.max(max_readings - held, 0))
    local before, total, delta = r.count, r.count + count, mean - r.mean
    r.count, r.held = total, r.held + growth
    r.mean = r.mean + delta * count / total
    r.m2 = r.m2 + m2 + delta * delta * before * count / total
    r.min, r.max = math.min(r.min, min), math.max(r.max, max)
    r.seen, r.last = now, string.sub(readings, -16)
    if now - r.indexed >= idle / 16 then
      redis.call('ZADD', index, now, id)
      r.indexed = now
    end
    held = held + growth
    local name = string.format('%.0f-0', total)
    if growth < count then
      redis.call('XADD', key, 'MINID', '~', string.format('%.0f-0', total - r.held + 1), name, 'r', readings)
    else
      redis.call('XADD', key, name, 'r', readings)
    end
    if not records[id] then stored[#stored + 1] = id end
    records[id] = r
    outcomes[i] = struct.pack('<BBdd', 0, r.state, before, count - growth)
  else
    outcomes[i] = struct.pack('<BBdd', refusal, 0, 0, 0)
  end
end

if #stored > 0 then
  local fields = {}
  for i, id in ipairs(stored) do
    fields[i * 2 - 1], fields[i * 2] = id, pack_record(records[id])
  end
  redis.call('HSET', statistics, unpack(fields))
  redis.call('SPUBLISH', meta_key, table.concat(stored, '\0'))
end
if held ~= old_held or prune_at ~= old_prune_at then
  redis.call('SET', meta_key, struct.pack(META, 1, held, prune_at) .. meta_rest)
end
if #ids == 0 then count_sensors() end
return struct.pack('<dddd', sensors or 0, held, forgotten, expired) .. table.concat(outcomes)
