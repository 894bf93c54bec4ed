package main

//go:generate protoc -I ../../../proto --go_out=. --go-grpc_out=. --go_opt=module=kelvin/bench --go-grpc_opt=module=kelvin/bench --go_opt=Msensor.proto=kelvin/bench/pb --go-grpc_opt=Msensor.proto=kelvin/bench/pb sensor.proto
