"""The programs that Penstock is measured beside, from Debian's packages, each on loopback with ports of
its own, started and ended here."""
import contextlib
import json
import os
import pathlib
import resource
import select
import shutil
import socket
import ssl
import subprocess
import sys
import time

SOURCE = pathlib.Path(os.environ.get("PENSTOCK_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "scripts"))

import stack as penstock  # noqa: E402

READY_SECS = 20
CPUCLOCK_SCHED = 2  # a process's clock is ~pid << 3 and this (clock_getcpuclockid(3), which Python has for threads alone)


class Missing(Exception):
    """The peer is not on this machine."""


class Place:
    """Where a tunnel's two ends are: the namespaces, as context managers, and the far one's address."""

    def __init__(self, near, far, far_address):
        self.near, self.far, self.far_address = near, far, far_address


LOOPBACK = Place(contextlib.nullcontext(), contextlib.nullcontext(), "127.0.0.1")


def program(name):
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not path:
        raise Missing(f"{name} is not installed")
    return path


def tool(name):
    """A program of this folder, built when it is not up to date."""
    built = SOURCE / "build" / "bench" / "tools"
    for argv in (["cmake", "-S", SOURCE / "tests" / "bench", "-B", built], ["cmake", "--build", built, "--target", name]):
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode != 0:
            raise penstock.Failure(f"{argv}: {done.stdout}{done.stderr}")
    return built / name


def certificates(count, suffix, chains=False):
    """[chain, key] for h0.<suffix> and so on; `chains`: with an intermediate certificate each, and as long as an
    authority's are."""
    argv = [tool("certs"), str(count), suffix, *(["chains"] if chains else [])]
    lines = subprocess.run(argv, check=True, capture_output=True).stdout
    return [json.loads(line) for line in lines.splitlines()]


def leaf(chain):
    """The first certificate of a chain, as a handshake shows it."""
    end = "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(chain[:chain.index(end) + len(end)])


class Process:
    """A child that listens on ports, or that `says` a word when it is ready; ended by its owner."""

    def __init__(self, argv, ports, cwd=None, host="127.0.0.1", says=None):
        self.child = subprocess.Popen(argv, stdout=subprocess.PIPE if says else subprocess.DEVNULL,
                                      stderr=subprocess.PIPE, cwd=cwd)
        try:
            if says and not (self._is_readable() and self.child.stdout.readline().decode().strip() == says):
                self._fail()
            for port in ports:
                self._wait(host, port)
        except BaseException:  # it has no owner yet
            self.end()
            raise

    def _is_readable(self):
        return select.select([self.child.stdout], [], [], READY_SECS)[0]

    def _fail(self):
        os.set_blocking(self.child.stderr.fileno(), False)  # what it has said; it may live on
        said = self.child.stderr.read() or b""
        raise penstock.Failure(f"{self.child.args[0]}: {said.decode()[-2000:]}")

    def _wait(self, host, port):
        end = time.monotonic() + READY_SECS
        while True:
            with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
                return
            if self.child.poll() is not None or time.monotonic() > end:
                self._fail()
            time.sleep(0.02)

    def cpu_seconds(self):
        return cpu_seconds(self.child.pid)

    def end(self):
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stderr.close()
        if self.child.stdout:
            self.child.stdout.close()


def need_descriptors(count):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count:
        raise Missing(f"a process may have {hard} descriptors here, {count} are needed")


def cpu_seconds(pid):
    """Of the process and its children that are still there, to the nanosecond: /proc/PID/stat has it in hundredths of
    a second, which are 2 % of what a round costs."""
    total = 0
    for each in [pid, *children(pid)]:
        with contextlib.suppress(OSError):
            total += time.clock_gettime(~each << 3 | CPUCLOCK_SCHED)
    return total


def children(pid):
    try:
        found = [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return found + [g for child in found for g in children(child)]


HAPROXY_GLOBAL = """
global
    nbthread 2
    maxconn 4500
    no strict-limits
    tune.ssl.default-dh-param 2048
    ssl-default-bind-options ssl-min-ver TLSv1.3
    ssl-default-server-options ssl-min-ver TLSv1.3
    ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
    ssl-default-server-ciphersuites TLS_AES_128_GCM_SHA256
defaults
    timeout connect 5s
    timeout client 60s
    timeout server 60s
"""


def haproxy_pair(folder, certificate, target, name="pair", place=LOOPBACK):
    """TCP in, TLS between two processes, TCP out: what a user would take instead of edge and hub.
    Returns (port, processes)."""
    path = program("haproxy")
    between, front = penstock.free_port(), penstock.free_port()
    pem = pathlib.Path(folder) / f"{name}.pem"
    pem.write_text(certificate.chain + certificate.key)
    inner = pathlib.Path(folder) / f"{name}-in.cfg"
    inner.write_text(HAPROXY_GLOBAL + f"""
listen out
    mode tcp
    bind {place.far_address}:{between} ssl crt {pem}
    server target 127.0.0.1:{target}
""")
    outer = pathlib.Path(folder) / f"{name}-out.cfg"
    outer.write_text(HAPROXY_GLOBAL + f"""
listen in
    mode tcp
    bind 127.0.0.1:{front}
    server tunnel {place.far_address}:{between} ssl verify none
""")
    with place.far:
        first = Process([path, "-db", "-f", str(inner)], [between], host=place.far_address)
    with place.near:
        return front, [first, Process([path, "-db", "-f", str(outer)], [front])]


def haproxy_https(folder, certificate, target, alpn="http/1.1", room=4500):
    path = program("haproxy")
    front = penstock.free_port()
    name = "https" if alpn == "http/1.1" else "h2"
    pem = pathlib.Path(folder) / f"{name}.pem"
    pem.write_text(certificate.chain + certificate.key)
    conf = pathlib.Path(folder) / f"{name}.cfg"
    conf.write_text(HAPROXY_GLOBAL.replace("ssl-min-ver TLSv1.3", "ssl-min-ver TLSv1.2").replace("4500", str(room)) + f"""
listen https
    mode http
    bind 127.0.0.1:{front} ssl crt {pem} alpn {alpn}
    option forwardfor
    http-reuse always
    server target 127.0.0.1:{target}
""")
    return front, [Process([path, "-db", "-f", str(conf)], [front])]


NGINX_HEAD = """
daemon off;
worker_processes 2;
pid {folder}/{name}.pid;
error_log stderr crit;
events {{ worker_connections 16000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/{name}-body;
    proxy_temp_path {folder}/{name}-proxy;
    fastcgi_temp_path {folder}/{name}-f;
    uwsgi_temp_path {folder}/{name}-u;
    scgi_temp_path {folder}/{name}-s;
    keepalive_requests 100000000;
"""


def nginx(folder, name, body, port):
    path = program("nginx")
    conf = pathlib.Path(folder) / f"{name}.conf"
    conf.write_text(NGINX_HEAD.format(folder=folder, name=name) + body + "}\n")
    return Process([path, "-p", str(folder), "-e", "stderr", "-c", str(conf)], [port] if port else [])


def nginx_origin(folder, workers=1):
    """A static answer of 128 bytes, and /1k, /1m.  Returns (port, processes)."""
    port = penstock.free_port()
    root = pathlib.Path(folder) / "root"
    root.mkdir(exist_ok=True)
    os.chmod(folder, 0o755)
    (root / "1k").write_bytes(b"x" * 1024)
    (root / "1m").write_bytes(b"x" * (1 << 20))
    body = f"""
    server {{
        listen 127.0.0.1:{port} backlog=4096 reuseport;
        root {root};
        location = / {{ return 200 "{'x' * 127}\\n"; }}
    }}
"""
    return port, [nginx(folder, "origin", body, port)]


def lean_origin():
    """The same answers from memory (origin.c): next to nothing of the machine is the origin's."""
    port = penstock.free_port()
    return port, [Process([tool("origin"), str(port)], [port])]


def nginx_https(folder, certificate, target, http2=""):
    port = penstock.free_port()
    body = f"""
    upstream target {{ server 127.0.0.1:{target}; keepalive 128; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{port} ssl {http2} backlog=4096 reuseport;
        ssl_certificate {certificate.chain_file};
        ssl_certificate_key {certificate.key_file};
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{
            proxy_pass http://target;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header Host $host;
        }}
    }}
"""
    return port, [nginx(folder, http2 or "https", body, port)]


def many_files(folder, hosts, certs):
    """What the two below read: a PEM file a host."""
    many = pathlib.Path(folder) / "many"
    many.mkdir(exist_ok=True)
    for host, (chain, key) in zip(hosts, certs):
        (many / f"{host}.pem").write_text(chain + key)


def haproxy_many(folder, hosts, certs, target):
    front = penstock.free_port()
    conf = pathlib.Path(folder) / "many.cfg"
    conf.write_text(HAPROXY_GLOBAL + f"""
listen https
    mode http
    bind 127.0.0.1:{front} ssl crt {folder}/many
    server target 127.0.0.1:{target}
""")
    return front, [Process([program("haproxy"), "-db", "-f", str(conf)], [])]


def nginx_many(folder, hosts, certs, target):
    port = penstock.free_port()
    servers = "".join(f"""
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name {host};
        ssl_certificate {folder}/many/{host}.pem;
        ssl_certificate_key {folder}/many/{host}.pem;
        location / {{ proxy_pass http://127.0.0.1:{target}; }}
    }}""" for host in hosts)
    body = "    server_names_hash_max_size 65536;\n    server_names_hash_bucket_size 128;\n" + servers
    return port, [nginx(folder, "many", body, None)]


def nginx_datagrams(folder, target):
    """Debian's `stream` module.  Returns (port, processes)."""
    path = program("nginx")
    module = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    if not module.exists():
        raise Missing("nginx's stream module is not installed")
    port = penstock.free_port()
    conf = pathlib.Path(folder) / "datagrams.conf"
    conf.write_text(f"""
load_module {module};
daemon off;
worker_processes 1;
pid {folder}/datagrams.pid;
error_log stderr crit;
events {{ worker_connections 1000; }}
stream {{ server {{ listen 127.0.0.1:{port} udp; proxy_pass 127.0.0.1:{target}; }} }}
""")
    return port, [Process([path, "-p", str(folder), "-e", "stderr", "-c", str(conf)], [])]


def iperf_server(host="127.0.0.1"):
    port = penstock.free_port()
    return port, [Process([program("iperf3"), "-s", "-p", str(port), "-B", host], [port], host=host)]


def hop_pair(target, *flags):
    """The least that a tunnel hop can be (hop.c); `--plain`: without encryption."""
    path = tool("hop")
    between, front = penstock.free_port(), penstock.free_port()
    out = Process([path, "out", *flags, str(between), str(target)], [])
    return front, [out, Process([path, "in", *flags, str(front), str(between)], [front])]


def tls_relay(certificate, target):
    """The least that a server in traffic's place can be (relay.c)."""
    port = penstock.free_port()
    return port, [Process([tool("relay"), str(port), str(target), str(certificate.chain_file), str(certificate.key_file)],
                          [port])]


def load_origin():
    port = penstock.free_port()
    return port, [Process([tool("load"), "serve", str(port)], [port])]


class Load:
    """`count` connections from one process, dealt over the ports (load.c)."""

    def __init__(self, count, ports):
        self.child = subprocess.Popen([tool("load"), "ask", str(count), *map(str, ports)], text=True,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._line()

    def _line(self):
        line = self.child.stdout.readline()
        if not line:
            raise penstock.Failure(f"load ended with {self.child.wait()}")
        return line

    def run(self, secs, active, upload, answer, rate=0):
        """{answers, missed, secs, p50Us, p99Us} with `active` requests under way, or `rate` a second and at most
        so many."""
        self.child.stdin.write(f"{secs} {active} {upload} {answer} {rate}\n")
        self.child.stdin.flush()
        return json.loads(self._line())

    def end(self):
        self.child.stdin.close()
        self.child.wait(60)
        self.child.stdout.close()
