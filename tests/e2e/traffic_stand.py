"""A stand for tests of traffic alone: the real program, an origin that records what it sees, raw clients.

The origin reads HTTP/1.1 by the letter and keeps every request; what it answers is decided by the path
(Origin.answers).  The client (Raw) sends bytes as they are, whatever they are.
"""
import contextlib
import errno
import os
import pathlib
import re
import resource
import select
import socket
import ssl
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(os.environ.get("PENSTOCK_SOURCE",
                       pathlib.Path(__file__).resolve().parent.parent.parent)) / "scripts"))
import stack  # noqa: E402

# Origins and clients are here, a descriptor each: as many as this user may have.
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
if FILES == resource.RLIM_INFINITY:
    FILES = 1 << 20
resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

HOST = "app.example.test"
SECS = 20


class Request:
    def __init__(self, raw_head, body, trailers, connection):
        lines = raw_head[:-4].decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.method, self.target, self.version = lines[0].split(" ")
        self.fields = [tuple(l.split(": ", 1)) for l in lines[1:]]
        self.body, self.trailers, self.connection = body, trailers, connection

    def all(self, name):
        return [v for k, v in self.fields if k.lower() == name.lower()]

    def one(self, name):
        values = self.all(name)
        return values[0] if len(values) == 1 else None


def ok(body=b"ok", *fields):
    head = "".join(f"{k}: {v}\r\n" for k, v in fields)
    return b"HTTP/1.1 200 OK\r\n" + head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def p99(took, every=0.01):
    """The wait of those who would have come so often: who asks again only after an answer does not come while it
    waits, and a stall of a second would be one wait of many ("coordinated omission")."""
    waits = sorted(secs - i * every for secs in took for i in range(int(secs / every) + 1))
    return waits[len(waits) * 99 // 100]


def send_all(s, data):
    """socket.sendall() has its time limit for the whole of it: here each piece has one."""
    data = memoryview(data)
    for at in range(0, len(data), 65536):
        s.sendall(data[at:at + 65536])


class Origin:
    """`answers`: path -> bytes, or a function (socket, request) that returns bytes, or None when it has
    done everything itself and the connection is over."""

    def __init__(self, host="127.0.0.1"):
        self.listener = socket.create_server((host, 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Condition()
        self.begun, self.requests, self.connections, self.garbage = [], [], 0, []
        self.answers = {}
        self.open = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError as error:
                if self.listener.fileno() < 0 or error.errno in (errno.EBADF, errno.EINVAL):
                    return  # closed
                if error.errno in (errno.ECONNABORTED, errno.EINTR):
                    continue  # that client was gone before its turn
                raise  # not in silence: the tests would wait for this connection
            s.settimeout(SECS)
            with self.lock:
                self.connections += 1
                self.open.add(s)
                number = self.connections
            threading.Thread(target=self._serve, args=(s, number), daemon=True).start()

    def _serve(self, s, number):
        reader = Reader(s)
        try:
            while True:
                if not self._one(s, reader, number):
                    return
        except (OSError, EOFError):
            pass
        finally:
            with self.lock:
                self.open.discard(s)
                self.lock.notify_all()
            s.close()

    def _one(self, s, reader, number):
        head = reader.until(b"\r\n\r\n", allow_eof=True)
        if not head:
            return False
        try:
            request = Request(head, b"", [], number)
            with self.lock:
                self.begun.append(request.target)  # its body is still to come
                self.lock.notify_all()
            answer = self.answers.get(request.target.split("?")[0])
            early = callable(answer) and getattr(answer, "is_early", False)
            if not early:
                if request.one("expect"):
                    s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.body, request.trailers = reader.body(request)
        except ValueError as error:  # no request, or another one where this one's chunks should be
            with self.lock:
                self.garbage.append((head, str(error)))
            return False
        with self.lock:
            self.requests.append(request)
            self.lock.notify_all()
        if callable(answer):
            answer = answer(s, request) if not early else answer(s, request, reader)
        elif answer is None:
            answer = ok(f"{request.method} {request.target}".encode())
        if answer is None:
            return False
        send_all(s, answer)
        return True

    def seen(self, path=None):
        with self.lock:
            return [r for r in self.requests if path is None or r.target.split("?")[0] == path]

    def wait_seen(self, path, count=1):
        with self.lock:
            if not self.lock.wait_for(lambda: len([r for r in self.requests if r.target == path]) >= count, SECS):
                seen = [f"{r.line} on {r.connection}" for r in self.requests[-10:]]
                raise stack.Failure(f"the origin did not see {path} {count} times; {self.connections} connections, last {seen}")
        return self.seen(path)

    def wait_begun(self, path, count=1):
        """The heads of so many are here, whatever follows them."""
        with self.lock:
            if not self.lock.wait_for(lambda: self.begun.count(path) >= count, SECS):
                raise stack.Failure(f"the origin did not see the head of {path} {count} times")

    def wait_closed(self):
        with self.lock:
            if not self.lock.wait_for(lambda: not self.open, SECS):
                raise stack.Failure("connections to the origin stay open")

    def drop_connections(self):
        with self.lock:
            for s in self.open:
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)

    def close(self):
        with contextlib.suppress(OSError):  # else it would go on listening as long as accept() waits
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.drop_connections()


def early(function):
    """Answers before the body is read: function(socket, request, reader)."""
    function.is_early = True
    return function


class Reader:
    """Bytes of a socket, as asked for."""

    def __init__(self, s):
        self.s, self.held = s, bytearray()

    def more(self):
        piece = self.s.recv(262144)
        self.held += piece
        return bool(piece)

    def take(self, n):
        taken = bytes(self.held[:n])
        del self.held[:n]
        return taken

    def until(self, end, allow_eof=False):
        at = self.held.find(end)
        while at < 0:
            begin = max(0, len(self.held) - len(end))
            if not self.more():
                if allow_eof and not self.held:
                    return b""
                raise EOFError(f"ended behind {bytes(self.held[:200])!r}")
            at = self.held.find(end, begin)
        return self.take(at + len(end))

    def exactly(self, n):
        while len(self.held) < n:
            if not self.more():
                raise EOFError(f"ended behind {len(self.held)} of {n} bytes")
        return self.take(n)

    def rest(self):
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while self.more():
                pass
        return self.take(len(self.held))

    def chunks(self):
        body, trailers = bytearray(), []
        while True:
            size = int(self.until(b"\r\n")[:-2], 16)
            if size == 0:
                break
            body += self.exactly(size)
            if self.exactly(2) != b"\r\n":
                raise EOFError("a chunk without its end")
        while True:
            line = self.until(b"\r\n")
            if line == b"\r\n":
                return bytes(body), trailers
            trailers.append(tuple(line[:-2].decode("latin-1").split(": ", 1)))

    def body(self, request):
        if request.all("transfer-encoding"):
            return self.chunks()
        return self.exactly(int(request.one("content-length") or 0)), []


class Answer:
    def __init__(self, head):
        lines = head[:-4].decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.status = int(lines[0].split(" ")[1])
        self.fields = [tuple(l.split(": ", 1)) for l in lines[1:]]
        self.body, self.trailers = b"", []

    def all(self, name):
        return [v for k, v in self.fields if k.lower() == name.lower()]

    def one(self, name):
        values = self.all(name)
        return values[0] if len(values) == 1 else None


WOULD_BLOCK = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


class Duplex:
    """Sends and reads at the same time on one thread: OpenSSL forbids that two threads use one SSL object at
    once, and a reader beside a writer spoils it by chance."""

    def __init__(self, s):
        self.s, self.unsent = s, memoryview(b"")

    def __enter__(self):
        self.s.settimeout(0)
        return self

    def __exit__(self, *_):
        self.s.settimeout(SECS)

    def send(self, data):
        """Only when nothing is unsent."""
        self.unsent = memoryview(data)

    def turn(self):
        """Hands over what has come, else sends what goes, else waits for either: None for nothing, b"" at the
        end.  Not both in one turn: a send that fails must not lose what came before it."""
        with contextlib.suppress(*WOULD_BLOCK):
            return self.s.recv(262144)
        if self.unsent:
            with contextlib.suppress(*WOULD_BLOCK):
                self.unsent = self.unsent[self.s.send(self.unsent[:65536]):]
                return None
        select.select([self.s], [self.s] if self.unsent else [], [], 1)
        return None


class Raw:
    """One client connection; `sni` None sends none, `tls` False is plain text."""

    def __init__(self, address, sni=HOST, tls=True, before=b"", source="127.0.0.1", context=None, receive_buffer=0):
        self.s = socket.socket()
        self.s.settimeout(SECS)
        if receive_buffer:
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.s.bind((source, 0))
        self.s.connect(address)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if before:
            self.s.sendall(before)
        if tls:
            context = context or stack.tls_context()
            context.set_alpn_protocols(["http/1.1"])
            self.s = context.wrap_socket(self.s, server_hostname=sni, suppress_ragged_eofs=False)
        self.reader = Reader(self.s)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    def send(self, data):
        send_all(self.s, data.encode("latin-1") if isinstance(data, str) else data)

    def exchange(self, data, n):
        """Sends `data` while `n` bytes are read."""
        end = time.monotonic() + SECS
        held = self.reader.held
        with Duplex(self.s) as duplex:
            duplex.send(data)
            while duplex.unsent or len(held) < n:
                if time.monotonic() > end:
                    raise TimeoutError(f"{len(duplex.unsent)} bytes not sent, {len(held)} of {n} read")
                came = duplex.turn()
                if came == b"":
                    raise EOFError(f"ended behind {len(held)} of {n} bytes")
                held += came or b""
        return self.reader.take(n)

    def answer(self, method="GET"):
        a = Answer(self.reader.until(b"\r\n\r\n"))
        if a.status < 200 or a.status in (204, 304) or method == "HEAD":
            return a
        if a.all("transfer-encoding"):
            a.body, a.trailers = self.reader.chunks()
        elif a.one("content-length") is not None:
            a.body = self.reader.exactly(int(a.one("content-length")))
        else:
            a.body = self.reader.rest()
        return a

    def get(self, path="/", host=HOST, *fields):
        extra = "".join(f"{k}: {v}\r\n" for k, v in fields)
        self.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n")
        return self.answer()

    def is_closed(self):
        """Waits for the end; False when bytes come instead."""
        try:
            return not self.reader.held and self.s.recv(1) == b""
        except (ConnectionError, ssl.SSLError):
            return True

    def close(self):
        self.s.close()


class Stand:
    """traffic with one route (or more) to recording origins."""

    def __init__(self, **conf):
        self.conf = conf
        self.exit = contextlib.ExitStack()

    def __enter__(self):
        self.stack = self.exit.enter_context(stack.Stack())
        self.origin = self.new_origin()
        self.certificates = {}
        base = {"proxyProtocol": {"trusted": []}, "workers": 1}
        stack.merge(base, self.conf)
        self.traffic = self.stack.traffic(**base)
        self.https = self.traffic.address("https")
        self.http = self.traffic.address("http")
        self.routes([self.route(HOST)])
        return self

    def __exit__(self, *error):
        if self.traffic.process and not self.traffic.is_running():
            self.traffic.dump()
        return self.exit.__exit__(*error)

    def new_origin(self, host="127.0.0.1"):
        origin = Origin(host)
        self.exit.callback(origin.close)
        return origin

    def certificate(self, name):
        if name not in self.certificates:
            self.certificates[name] = stack.Certificate(self.stack.folder, name)
        return self.certificates[name]

    def route(self, name, origins=None, **more):
        certificate = self.certificate(name)
        ports = [o if isinstance(o, int) else o.port for o in origins or [self.origin]]
        return {"hostName": name, "destinationIps": ["127.0.0.1"], "destinationPorts": ports,
                "publicKey": certificate.chain, "privateKey": certificate.key, **more}

    def routes(self, routes):
        self.traffic.api("PUT", "/v1/routes", {"routes": routes}, expect=200)

    def client(self, **options):
        return Raw(self.https, **options)

    def cpu_secs(self):
        """What traffic's threads have used of the processors."""
        with open(f"/proc/{self.traffic.pid}/stat") as f:
            ticks = f.read().rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def reasons(self):
        """Every reason that was counted, with its count."""
        text = self.traffic.api("GET", "/metrics", expect=200).body.decode()
        found = re.findall(r'^penstock_traffic_refused_total\{reason="(\w+)"\} (\S+)', text, re.M)
        return {word: float(count) for word, count in found}

    def reason(self, word):
        try:
            return self.traffic.metric("penstock_traffic_refused_total", reason=word)
        except stack.Failure:
            return 0.0
