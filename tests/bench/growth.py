"""Rows that tell what grows with streams and edges (load.c): what a request and a megabyte cost is the processor
time of hub and edges together.

Twice, from 100 streams on: with as much load as the machine bears, a request under way on every stream; and with
the same load whatever the number of streams and edges is, some of what it bears.  The first tells what is reached.
It is no measure of what grows: at their limit 100 streams are gathered ten and more to a record, and how many are
gathered is what changes then.  The second is that: only the number differs.

The peer of each row is ourselves: 100 streams on one edge.  CPU time is within 20 % of it when the
ratio is 1 / 1.2 or more.  A bare hop (hop.c) with as many streams tells what of the growth is the kernel's
and the caches'.

Client and origin get the processor before the tunnel does, so that it is the tunnel that is at its limit.
Otherwise it is the client: it is one process, as is each of 100 edges, and all get the same share; then thousands
of answers wait at the client's sockets, and the tunnel, which has time to spare, is woken for each request alone.

All of ours stand from the first round to the last, and the streams are at work before the first: a window begins at
64 KiB, and while it grows each answer costs a credit of its own, which is no matter of how many there are.
"""
import collections
import contextlib
import os

import peers

STREAMS = (1, 10, 100, 1000, 8000)
EDGES = (1, 10, 100)
STREAMS_AN_EDGE = 100
REFERENCE = "100 streams, 1 edge"
WITHIN = round(1 / 1.2, 3)
IDLE_MAX = 4096
SMALL, LARGE = 128, 64 << 10
RATES = {SMALL: 10000, LARGE: 2000}  # requests a second of the same load; 100 edges bear twice as many at the least
BORNE = 0.99  # of those, answered within 1 / BORNE of the time: else the machine did not bear it
COSTS = (("us/req", "CPU a request", SMALL), ("ms/MB", "CPU a megabyte", LARGE))
ROUNDS_MAX = 3
WARM_ANSWERS = 32  # large ones, of each stream: by then its window is what it will be, though some get more than others
SPARE_DESCRIPTORS = 500  # of the origin, beside one for each stream
AHEAD = -15  # a niceness: thirty times the weight


def go_ahead(*processes):
    try:
        for process in processes:
            os.setpriority(os.PRIO_PROCESS, process.child.pid, AHEAD)
    except PermissionError:
        print("growth: client and origin may not go ahead of the tunnel here; more costs more than it should", flush=True)


@contextlib.contextmanager
def load_of(count, ports):
    load = peers.Load(count, ports)
    go_ahead(load)
    try:
        yield load
    finally:
        load.end()


def warm(load, count):
    answers = 0
    while answers < WARM_ANSWERS * count:
        answers += load.run(1, count, 0, LARGE)["answers"]


def start_origin(b):
    port, processes = peers.load_origin()
    go_ahead(*processes)
    return b.keep((port, processes))


def spend(load, pids, *how):
    """What a run found, and the processor seconds of each pid for an answer."""
    before = [peers.cpu_seconds(pid) for pid in pids]
    found = load.run(*how)
    return found, [(peers.cpu_seconds(pid) - was) / found["answers"] for pid, was in zip(pids, before)]


def at_rate(size):
    return f"{RATES[SMALL]:,} req/s" if size == SMALL else f"{RATES[LARGE] * LARGE // 1000000} MB/s"


def measure_same(load, count, secs, pids, size, into):
    """The same load as with any other number of streams.  One that was not borne is no sample; without any the row
    says 0."""
    found, each = spend(load, pids, secs, count, 0, size, RATES[size])
    if found["answers"] < BORNE * RATES[size] * secs or found["secs"] > secs / BORNE:
        print(f"growth, {count} streams of {len(pids)} processes at {at_rate(size)}: not borne: {found}", flush=True)
        return
    unit, scale = ("us/req", 1e6) if size == SMALL else ("ms/MB", 1e9 / size)
    into[f"same {unit}"].append(sum(each) * scale)
    into[f"same hub {unit}"].append(each[0] * scale)


def measure(load, count, secs, pids, into):
    """One measurement of requests and of bulk, with all `count` streams at work; the hub's pid is the first."""
    for size in (SMALL, LARGE):
        found, each = spend(load, pids, secs, count, 0, size)
        if size == SMALL:
            into["req/s"].append(found["answers"] / found["secs"])
            into["p99 ms"].append(found["p99Us"] / 1000)
            into["us/req"].append(sum(each) * 1e6)
        else:
            into["GB/s"].append(found["answers"] * size / found["secs"] / 1e9)
            into["ms/MB"].append(sum(each) * 1e9 / size)
        if count >= STREAMS_AN_EDGE:
            measure_same(load, count, secs, pids, size, into)


def record(b, what, samples, reference):
    """Rows of one size beside those of the reference."""
    for key, title, better in (("req/s", "requests", "more"), ("p99 ms", "p99", "less"), ("us/req", "CPU a request", "less"),
                               ("GB/s", "bulk", "more"), ("ms/MB", "CPU a megabyte", "less")):
        unit = key.rsplit(" ", 1)[-1]
        b.record(f"growth {what}: {title}", unit, samples[key], reference[key], REFERENCE, None, better)


def record_same(b, what, kind, whose, samples, reference, reference_name, goal=None):
    for key, title, size in COSTS:
        ours, peer = samples[kind + key] or [0.0], reference[kind + key] or [0.0]
        b.record(f"growth {what} at {at_rate(size)}: {whose}{title}", key, ours, peer, reference_name, goal, "less")


def record_hop(b, what, samples, reference):
    name = f"bare hop, {STREAMS_AN_EDGE}"
    for key, title, _ in COSTS:
        b.record(f"growth of the bare hop, {what}: {title}", key, samples[key], reference[key], name, None, "less")
    record_same(b, f"of the bare hop, {what}", "same ", "", samples, reference, name)


def streams(b):
    peers.need_descriptors(sum(STREAMS) + SPARE_DESCRIPTORS)
    origin = start_origin(b)
    samples = {n: collections.defaultdict(list) for n in STREAMS}
    bare = {n: collections.defaultdict(list) for n in (100, STREAMS[-1])}
    memory, stood = {}, {}
    port, processes = peers.hop_pair(start_origin(b))
    b.keep((port, processes))
    with contextlib.ExitStack() as stacks:
        for n in STREAMS:
            ports, hub, (edge,) = b.tunnels(1, origin, stacks)
            load = stacks.enter_context(load_of(n, ports))
            memory[n] = [service.resident_bytes() for service in (hub, edge)]
            warm(load, n)
            stood[n] = load, [hub.pid, edge.pid]
        for _ in range(min(b.rounds, ROUNDS_MAX)):
            for n, (load, pids) in stood.items():
                measure(load, n, b.secs, pids, samples[n])
            for n, into in bare.items():
                with load_of(n, [port]) as load:
                    measure(load, n, b.secs, [p.child.pid for p in processes], into)
    for n in STREAMS:
        record(b, f"{n} streams", samples[n], samples[100])
        if n >= STREAMS_AN_EDGE:
            record_same(b, f"{n} streams", "same ", "", samples[n], samples[100], REFERENCE, WITHIN if n > 100 else None)
    record_hop(b, f"{STREAMS[-1]} streams", bare[STREAMS[-1]], bare[100])
    most, few = STREAMS[-1], 100
    for side, name in enumerate(("hub", "edge")):
        each = max(1.0, (memory[most][side] - memory[few][side]) / (most - few))
        b.record(f"growth idle stream: {name}", "B", [each], [IDLE_MAX], "the limit", 1.0, "less")


def hop_pairs(b, count, origin):
    """As many bare hops side by side: each has both its ends for itself, where our edges share one hub."""
    pairs = [peers.hop_pair(origin) for _ in range(count)]
    for pair in pairs:
        b.keep(pair)
    return [port for port, _ in pairs], [p.child.pid for _, processes in pairs for p in processes]


def edges(b):
    peers.need_descriptors(sum(EDGES) * STREAMS_AN_EDGE + SPARE_DESCRIPTORS)
    origin = start_origin(b)
    samples = {n: collections.defaultdict(list) for n in EDGES}
    bare = {n: collections.defaultdict(list) for n in (EDGES[0], EDGES[-1])}
    with contextlib.ExitStack() as stacks:
        stood = {}
        for n in EDGES:
            count = n * STREAMS_AN_EDGE
            ports, hub, each = b.tunnels(n, origin, stacks)
            load = stacks.enter_context(load_of(count, ports))
            warm(load, count)
            stood[n] = load, [hub.pid, *(e.pid for e in each)]
        far = start_origin(b)  # of their own: one process may have no descriptors for both
        hops = {n: hop_pairs(b, n, far) for n in bare}
        for _ in range(min(b.rounds, ROUNDS_MAX)):
            for n, (load, pids) in stood.items():
                measure(load, n * STREAMS_AN_EDGE, b.secs, pids, samples[n])
            for n, (ports, pids) in hops.items():
                with load_of(n * STREAMS_AN_EDGE, ports) as load:
                    measure(load, n * STREAMS_AN_EDGE, b.secs, pids, bare[n])
    for n in EDGES:
        record(b, f"{n} edges x {STREAMS_AN_EDGE}", samples[n], samples[1])
        record_same(b, f"{n} edges x {STREAMS_AN_EDGE}", "same ", "", samples[n], samples[1], REFERENCE, WITHIN if n > 1 else None)
        if n > 1:
            record_same(b, f"{n} edges x {STREAMS_AN_EDGE}", "same hub ", "the hub's ", samples[n], samples[1], REFERENCE)
    record_hop(b, f"{EDGES[-1]} pairs x {STREAMS_AN_EDGE}", bare[EDGES[-1]], bare[1])
