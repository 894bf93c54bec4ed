"""All four calls of SensorService by grpcio, over TLS with a bare token.

grpcio sends one message a DATA frame. Usage: client.py PROTO ADDRESS CA TOKEN
Prints "streaming" when all streams are under way.
"""

import importlib
import queue
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from grpc_tools import protoc

STREAMS = 64
READINGS = 2000  # of each stream
CHAT_READINGS = 200


def stubs(proto):
    """Generates the stubs in a folder that lasts as long as this process."""
    folder = tempfile.TemporaryDirectory()
    arguments = ["protoc", f"-I{proto.parent}", f"--python_out={folder.name}", f"--grpc_python_out={folder.name}"]
    assert protoc.main([*arguments, str(proto)]) == 0
    sys.path.insert(0, folder.name)
    return folder, importlib.import_module("sensor_pb2"), importlib.import_module("sensor_pb2_grpc")


PROTO, ADDRESS, CA, TOKEN = sys.argv[1:]
FOLDER, pb, pb_grpc = stubs(Path(PROTO))


def reading(sensor, number):
    return pb.SensorReading(sensor_id=sensor, temperature=20 + number / 1000, timestamp=int(time.time()))


def simple_calls(stub, metadata):
    ack = stub.SendSingleReading(reading("python", 0), metadata=metadata, timeout=10)
    assert ack.accepted == 1, ack

    ack = stub.StreamSensorReadings((reading("python", n) for n in range(1, 101)), metadata=metadata, timeout=10)
    assert ack.accepted == 100, ack

    request = pb.SensorRequest(sensor_id="python")
    got = [r.temperature for r in stub.GetSensorReadings(request, metadata=metadata, timeout=10)]
    assert got == [20 + n / 1000 for n in range(101)], got

    # One reading after the other: the next is sent when the last was answered.
    turns = queue.Queue()
    turns.put(0)
    readings = (reading("python", n) for n in iter(turns.get, 50))
    answers = stub.SensorChat(readings, metadata=metadata, timeout=10)
    for count, answer in enumerate(answers, 1):
        assert answer.severity == pb.STATUS and answer.accepted == count, answer
        turns.put(count)
    assert count == 50, count

    stats = stub.GetSensorStats(pb.SensorStatsRequest(sensor_id="python"), metadata=metadata, timeout=10)
    assert stats.count == 151, stats
    print("calls ok", flush=True)


def compressed_calls(stub, metadata):
    # The sensor id repeats itself, so that gzip pays and grpcio uses it.
    options = {"metadata": metadata, "timeout": 10, "compression": grpc.Compression.Gzip}
    sensor = "gzip" * 30
    assert stub.SendSingleReading(reading(sensor, 0), **options).accepted == 1
    ack = stub.StreamSensorReadings((reading(sensor, n) for n in range(1, 100)), **options)
    assert ack.accepted == 99, ack
    answers = list(stub.SensorChat((reading(sensor, n) for n in range(10)), **options))
    assert [answer.accepted for answer in answers] == list(range(1, 11)), answers
    got = list(stub.GetSensorReadings(pb.SensorRequest(sensor_id=sensor), **options))
    assert len(got) == 110, len(got)
    print("compressed calls ok", flush=True)


def refusals(stub, metadata):
    for call, sent, code in [
        (stub.SendSingleReading, reading("", 0), grpc.StatusCode.INVALID_ARGUMENT),
        (stub.StreamSensorReadings, iter([reading("python", 0), reading("", 1)]), grpc.StatusCode.INVALID_ARGUMENT),
    ]:
        try:
            raise AssertionError(call(sent, metadata=metadata, timeout=10))
        except grpc.RpcError as error:
            assert error.code() == code and "sensor_id" in error.details(), error
    for wrong in [[], [("authorization", "wrong")]]:
        try:
            raise AssertionError(stub.SendSingleReading(reading("python", 0), metadata=wrong, timeout=10))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error
    print("refusals ok", flush=True)


def many_streams(stub, metadata):
    """All on one connection, at full speed, while the server pauses."""
    under_way = threading.Barrier(STREAMS + 1)

    def send(sensor, count):
        for number in range(count):
            if number == count // 4:
                under_way.wait(60)
            yield reading(sensor, number)

    def stream(index):
        readings = send(f"stream-{index}", READINGS)
        ack = stub.StreamSensorReadings(readings, metadata=metadata, timeout=120)
        return ack.accepted

    def chat(index):
        readings = send(f"chat-{index}", CHAT_READINGS)
        return sum(1 for _ in stub.SensorChat(readings, metadata=metadata, timeout=120))

    with ThreadPoolExecutor(STREAMS) as pool:
        kinds = [(stream, READINGS), (chat, CHAT_READINGS)]
        calls = [(pool.submit(kinds[index % 2][0], index), kinds[index % 2][1]) for index in range(STREAMS)]
        under_way.wait(60)
        print("streaming", flush=True)
        results = [(call.result(), wanted) for call, wanted in calls]
    assert all(result == wanted for result, wanted in results), results
    print("streams ok", flush=True)


def main():
    credentials = grpc.ssl_channel_credentials(Path(CA).read_bytes())
    with grpc.secure_channel(ADDRESS, credentials) as channel:
        stub = pb_grpc.SensorServiceStub(channel)
        metadata = [("authorization", TOKEN)]
        simple_calls(stub, metadata)
        compressed_calls(stub, metadata)
        refusals(stub, metadata)
        many_streams(stub, metadata)


main()
