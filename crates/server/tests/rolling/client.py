"""Steady calls over one channel, for rolling.rs: client.py ADDRESS CA TOKEN PAYLOAD CALLERS PAUSE_MS."""

import collections
import sys
import threading
import time

import grpc

address, ca, token, payload, callers, pause = sys.argv[1:]
payload, pause = bytes.fromhex(payload), int(pause) / 1000
with open(ca, "rb") as file:
    credentials = grpc.ssl_channel_credentials(file.read())
channel = grpc.secure_channel(address, credentials)
# Bytes in, bytes out: nothing has to be generated.
call = channel.unary_unary("/SensorService/SendSingleReading")
metadata = [("authorization", token)]
call(payload, metadata=metadata, timeout=20, wait_for_ready=True)
print("ready", flush=True)

calls, failures, lock, end = 0, collections.Counter(), threading.Lock(), threading.Event()


def caller():
    global calls
    while not end.is_set():
        failure = None
        try:
            call(payload, metadata=metadata, timeout=20)
        except grpc.RpcError as error:
            failure = f"{error.code().name}: {error.details()}".replace("\n", " ")
        with lock:
            calls += 1
            if failure:
                failures[failure] += 1
        time.sleep(pause)


threads = [threading.Thread(target=caller) for _ in range(int(callers))]
for thread in threads:
    thread.start()
sys.stdin.read()
end.set()
for thread in threads:
    thread.join()
print("calls", calls)
for failure, count in failures.items():
    print(count, failure)
