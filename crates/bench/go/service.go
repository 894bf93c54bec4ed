package main

import (
	"context"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"kelvin/bench/pb"
)

type service struct {
	pb.UnimplementedSensorServiceServer
	store *store
}

func (s *service) SendSingleReading(_ context.Context, reading *pb.SensorReading) (*pb.Ack, error) {
	s.store.append(reading)
	return &pb.Ack{Message: "stored 1 reading", Accepted: proto.Uint64(1)}, nil
}

func (s *service) StreamSensorReadings(stream grpc.ClientStreamingServer[pb.SensorReading, pb.Ack]) error {
	var accepted uint64
	for {
		reading, err := stream.Recv()
		if err == io.EOF {
			message := fmt.Sprintf("stored %d readings", accepted)
			return stream.SendAndClose(&pb.Ack{Message: message, Accepted: &accepted})
		}
		if err != nil {
			return err
		}
		s.store.append(reading)
		accepted++
	}
}

func (s *service) GetSensorReadings(request *pb.SensorRequest, stream grpc.ServerStreamingServer[pb.SensorReading]) error {
	for _, reading := range s.store.newest(request.SensorId, request.Limit) {
		message := pb.SensorReading{
			SensorId: request.SensorId, Temperature: reading.temperature, Timestamp: reading.timestamp,
		}
		if err := stream.Send(&message); err != nil {
			return err
		}
	}
	return nil
}

func (s *service) SensorChat(stream grpc.BidiStreamingServer[pb.SensorReading, pb.ServerMessage]) error {
	var accepted uint64
	for {
		reading, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		s.store.append(reading)
		accepted++
		answer := pb.ServerMessage{
			Message: "stored", ServerTime: reading.Timestamp,
			Severity: pb.Severity_STATUS.Enum(), Accepted: proto.Uint64(accepted),
		}
		if err := stream.Send(&answer); err != nil {
			return err
		}
	}
}
