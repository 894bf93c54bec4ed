package main

import (
	"hash/maphash"
	"sync"

	"kelvin/bench/pb"
)

const shards = 128

type reading struct {
	temperature float64
	timestamp   int64
}

// A ring: once it is full, next is the oldest.
type history struct {
	readings []reading
	next     int
}

type shard struct {
	sync.Mutex
	sensors map[string]*history
}

type store struct {
	shards [shards]shard
	seed   maphash.Seed
	limit  int
}

func newStore(limit int) *store {
	s := &store{seed: maphash.MakeSeed(), limit: limit}
	for i := range s.shards {
		s.shards[i].sensors = map[string]*history{}
	}
	return s
}

func (s *store) shard(id string) *shard {
	return &s.shards[maphash.String(s.seed, id)%shards]
}

func (s *store) append(message *pb.SensorReading) {
	shard := s.shard(message.SensorId)
	shard.Lock()
	defer shard.Unlock()
	held := shard.sensors[message.SensorId]
	if held == nil {
		held = &history{}
		shard.sensors[message.SensorId] = held
	}
	new := reading{message.Temperature, message.Timestamp}
	if len(held.readings) < s.limit {
		held.readings = append(held.readings, new)
		return
	}
	held.readings[held.next] = new
	held.next = (held.next + 1) % s.limit
}

// The newest readings of a sensor, oldest first; all without a limit.
func (s *store) newest(id string, limit *uint64) []reading {
	shard := s.shard(id)
	shard.Lock()
	defer shard.Unlock()
	held := shard.sensors[id]
	if held == nil {
		return nil
	}
	skip := 0
	if limit != nil && *limit < uint64(len(held.readings)) {
		skip = len(held.readings) - int(*limit)
	}
	all := make([]reading, 0, len(held.readings))
	all = append(append(all, held.readings[held.next:]...), held.readings[:held.next]...)
	return all[skip:]
}
