"""What one stalled reader costs the others: round trips of 999 streams with and without it.

Release build.  1,000 streams through one edge and one hub; on one of them an answer of 1 GiB was asked
for and is not read.  Five rounds, interleaved (without, with, with, without, ...); medians, and the
change of p99 in percent, which should stay below 20.

    PENSTOCK_BUILD=build/release python3 tests/bench/stalled_reader.py [--rounds 5] [--secs 5]
"""
import argparse
import pathlib
import socket
import statistics
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import peers  # noqa: E402
from peers import penstock  # noqa: E402

STREAMS = 999
SIZE = 128
GOAL_PERCENT = 20


class StalledReader:
    """Asks for 1 GiB (load.c's request: upload, answer) and never reads."""

    def __init__(self, port, hub):
        def stalls():
            return hub.metric("penstock_hub_window_stalls_total")

        before = stalls()
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(struct.pack("!II", 0, 1 << 30))
        penstock.wait_for("the stalled stream to run out of credit", lambda: stalls() > before)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def tunnel(stack, target):
    port = penstock.free_port()
    hub = stack.hub({port: {"host": "127.0.0.1", "port": target, "proxyProtocol": "off"}})
    edge = stack.edge(stack.register(hub, "e1", [port]))
    penstock.wait_for("the edge's port", lambda: edge.status()["listenPorts"] == [port])
    return port, hub


def measure(options, stack, target):
    port, hub = tunnel(stack, target)
    load = peers.Load(STREAMS, [port])
    found = {"without": [], "with": []}

    def once(kind):
        found[kind].append(load.run(options.secs, options.active, 0, SIZE))

    once("without")  # warm
    found["without"].clear()
    for number in range(options.rounds):
        for kind in ("without", "with") if number % 2 == 0 else ("with", "without"):
            if kind == "without":
                once(kind)
                continue
            with StalledReader(port, hub):
                once(kind)
    load.end()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--secs", type=float, default=5)
    parser.add_argument("--active", type=int, default=100, help="requests under way at a time")
    options = parser.parse_args()
    target, (origin,) = peers.load_origin()
    try:
        with penstock.Stack() as stack:
            found = measure(options, stack, target)
    finally:
        origin.end()
    medians = {}
    for kind in ("without", "with"):
        medians[kind] = {key: statistics.median(r[key] for r in found[kind]) for key in ("p50Us", "p99Us")}
        rate = statistics.median(r["answers"] / r["secs"] for r in found[kind])
        spread = [r["p99Us"] for r in found[kind]]
        print(f"{kind:8} a stalled reader: p50 {medians[kind]['p50Us'] / 1000:.2f} ms, p99 "
              f"{medians[kind]['p99Us'] / 1000:.2f} ms ({min(spread) / 1000:.2f} to {max(spread) / 1000:.2f}), "
              f"{rate:.0f} round trips/s")
    change = (medians["with"]["p99Us"] / medians["without"]["p99Us"] - 1) * 100
    print(f"change of p99: {change:+.1f} % (less than {GOAL_PERCENT} wanted; medians of {options.rounds} rounds)")
    return 0 if change < GOAL_PERCENT else 1


if __name__ == "__main__":
    sys.exit(main())
