// Steady calls over one channel, for main.rs: client ADDRESS CA TOKEN PAYLOAD CALLERS PAUSE_MS.
package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const method = "/SensorService/SendSingleReading"

// raw passes bytes through, so that nothing has to be generated.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error { *v.(*[]byte) = append([]byte(nil), data...); return nil }
func (raw) Name() string                       { return "proto" }

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func main() {
	payload := must(hex.DecodeString(os.Args[4]))
	callers, pause := must(strconv.Atoi(os.Args[5])), must(strconv.Atoi(os.Args[6]))
	tls := must(credentials.NewClientTLSFromFile(os.Args[2], ""))
	channel := must(grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(tls), grpc.WithDisableRetry()))
	ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", os.Args[3])
	call := func(options ...grpc.CallOption) error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		var reply []byte
		return channel.Invoke(ctx, method, &payload, &reply, append(options, grpc.ForceCodec(raw{}))...)
	}
	must(0, call(grpc.WaitForReady(true)))
	fmt.Println("ready")

	var calls atomic.Int64
	var end atomic.Bool
	var lock sync.Mutex
	failures := map[string]int{}
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for !end.Load() {
				err := call()
				calls.Add(1)
				if err != nil {
					s := status.Convert(err)
					lock.Lock()
					failures[strings.ReplaceAll(fmt.Sprintf("%v: %v", s.Code(), s.Message()), "\n", " ")]++
					lock.Unlock()
				}
				time.Sleep(time.Duration(pause) * time.Millisecond)
			}
		})
	}
	_ = must(io.ReadAll(os.Stdin))
	end.Store(true)
	group.Wait()
	fmt.Println("calls", calls.Load())
	for failure, count := range failures {
		fmt.Println(count, failure)
	}
}
