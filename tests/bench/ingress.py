"""Rows of traffic beside HAProxy and nginx that are about more than small answers: large ones, handshakes, idle
connections.  A handshake's price is the server's CPU time, so that the client's share of the machine does not
count; the rate of new connections, in which it does, is shown beside it."""
import contextlib
import json
import resource
import subprocess

from measures import h2load, wrk
import peers
from peers import penstock

IDLE = 10_000
DESCRIPTORS = IDLE + 2_000
IDLE_LIMIT_KB = 20  # a connection: what is promised of ours
SHAKE_THREADS = 4
GOALS = {"ec": {"full": {"nginx": 1.15}, "resumed": {"nginx": 1.2}},
         "rsa": {"full": {"nginx": 0.95}, "resumed": {"nginx": 1.2}}}


def contestants(b, host, kind="ec", alpn="http/1.1", room=4500):
    """name -> (port, what to ask for CPU time and memory)."""
    target = b.keep(peers.nginx_origin(b.folder))
    certificate = penstock.Certificate(b.folder, host, kind=kind)
    port, traffic = b.traffic(target, certificate, limits={"connectionsPerAddress": room})
    found = {"penstock": (port, traffic.pid)}
    port, (haproxy,) = peers.haproxy_https(b.folder, certificate, target, alpn=alpn, room=room)
    b.keep((port, [haproxy]))
    found["haproxy"] = (port, haproxy.child.pid)
    port, (nginx,) = peers.nginx_https(b.folder, certificate, target, "http2" if alpn == "h2" else "")
    b.keep((port, [nginx]))
    found["nginx"] = (port, nginx.child.pid)
    return found


def large(b, host):
    """Answers of 1 MiB over both versions."""
    for alpn, version in (("http/1.1", "h1"), ("h2", "h2")):
        found = contestants(b, host, alpn=alpn)

        def measure(port, alpn=alpn):
            url = f"https://{host}:{port}/1m"
            return (wrk(url, b.secs, 16) if alpn != "h2" else h2load(url, b.secs, 16, 1)).rate
        b.interleave(f"https {version} c16 1 MiB", "req/s", {
            name: (lambda port=port: measure(port)) for name, (port, _) in found.items()}, {"haproxy": 1.0, "nginx": 1.2})


def shake(port, pid, host, secs, how):
    """Handshakes for each second of the server's CPU, and for each second."""
    before = peers.cpu_seconds(pid)
    done = subprocess.run([peers.tool("tls_load"), "shake", str(port), host, str(SHAKE_THREADS), str(secs), how],
                          capture_output=True, text=True, timeout=secs + 60)
    if done.returncode != 0:
        raise penstock.Failure(done.stderr)
    spent = peers.cpu_seconds(pid) - before
    counts = json.loads(done.stdout)
    if (counts["resumed"] == counts["handshakes"]) != (how == "resumed"):
        raise penstock.Failure(f"{how}: {counts}")
    return counts["handshakes"] / spent, counts["handshakes"] / secs


def handshakes(b, host):
    for kind, title in (("ec", "ECDSA"), ("rsa", "RSA")):
        found = contestants(b, host, kind)
        for how in ("full", "resumed"):
            name = f"handshakes {title} {how}"
            taken = b.take(name, {who: (lambda port=port, pid=pid: shake(port, pid, host, b.secs, how))
                                  for who, (port, pid) in found.items()})
            for at, (row, unit, goals) in enumerate(((name, "/CPU-s", GOALS[kind][how]), (f"{name}: rate", "/s", {}))):
                b.compare(row, unit, {who: [s[at] for s in samples] for who, samples in taken.items()}, goals)


def resident(pid):
    """Bytes, of the process and its children."""
    total = 0
    for each in [pid, *peers.children(pid)]:
        with contextlib.suppress(OSError), open(f"/proc/{each}/smaps_rollup") as rollup:
            total += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) * 1024
    return total


def idle(b, host):
    """Memory of each of many idle connections."""
    peers.need_descriptors(DESCRIPTORS)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the peers' too: they are children
    found = contestants(b, host, room=IDLE + 500)

    def measure(port, pid):
        wrk(f"https://{host}:{port}/", 1, 16)  # what is made once
        before = resident(pid)
        child = subprocess.Popen([peers.tool("tls_load"), "idle", str(port), host, str(IDLE)], text=True,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            if child.stdout.readline() != "ready\n":
                raise penstock.Failure(f"{IDLE} connections at port {port}: tls_load ended")
            return (resident(pid) - before) / IDLE / 1024
        finally:
            child.stdin.close()
            child.wait(120)
            child.stdout.close()

    samples = {name: [measure(*server)] for name, server in found.items()}  # once: the heap keeps what it had
    for name in ("haproxy", "nginx"):
        b.record("idle TLS connection", "KB", samples["penstock"], samples[name], name, None, "less")
    b.record("idle TLS connection", "KB", samples["penstock"], [IDLE_LIMIT_KB], "what is promised", 1.0, "less")
