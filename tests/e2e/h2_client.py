"""Clients of HTTP/2 for tests: one that keeps the rules (H2, on python3-h2), one that keeps none (Frames)."""
import collections
import socket
import ssl
import struct
import time

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack

from traffic_stand import HOST, SECS, Duplex, stack

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ENDED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)  # what a connection that is gone says
NO_ERROR, PROTOCOL_ERROR, STREAM_CLOSED, REFUSED_STREAM, ENHANCE_YOUR_CALM = 0, 1, 5, 7, 11


def connect(address, sni=HOST, receive_buffer=0, source="127.0.0.1"):
    s = socket.socket()
    s.settimeout(SECS)
    s.bind((source, 0))
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.connect(address)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    context = stack.tls_context()
    context.set_alpn_protocols(["h2"])
    s = context.wrap_socket(s, server_hostname=sni, suppress_ragged_eofs=False)
    assert s.selected_alpn_protocol() == "h2"
    return s


class Answer:
    def __init__(self):
        self.fields, self.body, self.trailers, self.interims = [], b"", [], []
        self.has_ended, self.error = False, None

    @property
    def status(self):
        return int(self.one(":status"))

    def all(self, name):
        return [v for k, v in self.fields if k == name]

    def one(self, name):
        values = self.all(name)
        return values[0] if len(values) == 1 else None


class H2:
    """One connection; answers by stream.  `window`: bytes of each stream and of the connection that are
    taken without asking; what comes is credited at once, unless `credits` is False."""

    def __init__(self, address, sni=HOST, window=1 << 20, credits=True):
        self.s = connect(address, sni)
        self.c = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1",
                                            validate_outbound_headers=False, normalize_outbound_headers=False,
                                            validate_inbound_headers=True))
        self.c.initiate_connection()
        self.c.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.credits, self.answers, self.goaway, self.is_closed = credits, {}, None, False
        self.settings = {}
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    def flush(self):
        self.s.sendall(self.c.data_to_send())

    def request(self, path="/", *fields, method="GET", authority=HOST, end=True, pseudo=()):
        stream = self.c.get_next_available_stream_id()
        self.answers[stream] = Answer()
        self.c.send_headers(stream, [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path),
                                     *pseudo, *fields], end_stream=end)
        self.flush()
        return stream

    def send(self, stream, data, end=False):
        """As the server's windows allow."""
        at = 0
        while True:
            room = min(self.c.local_flow_control_window(stream), 16384, len(data) - at)
            if room > 0 or len(data) == at:
                last = at + room == len(data)
                self.c.send_data(stream, data[at:at + room], end_stream=end and last)
                self.flush()
                at += room
                if last:
                    return
            else:
                self.read()

    def read(self):
        """One batch of what came; False at the end."""
        try:
            data = self.s.recv(262144)
        except ENDED:
            data = b""
        if not data:
            self.is_closed = True
            return False
        for event in self.c.receive_data(data):
            self.on(event)
        self.flush()
        return True

    def on(self, event):
        answer = self.answers.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.ResponseReceived):
            answer.fields = event.headers
        elif isinstance(event, h2.events.InformationalResponseReceived):
            answer.interims.append(dict(event.headers)[":status"])
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = event.headers
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            if self.credits and event.flow_controlled_length:
                self.c.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            answer.has_ended = True
        elif isinstance(event, h2.events.StreamReset) and answer:
            answer.error = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = int(event.error_code)
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self.settings.update({k: v.new_value for k, v in event.changed_settings.items()})

    def until(self, condition):
        while not condition():
            if not self.read():
                raise EOFError(f"closed, goaway {self.goaway}")

    def wait(self, stream):
        a = self.answers[stream]
        self.until(lambda: a.has_ended or a.error is not None)
        return a

    def get(self, path="/", *fields, **options):
        return self.wait(self.request(path, *fields, **options))


class Frames:
    """Frames made by hand.  One thread at a time uses it."""

    def __init__(self, address, sni=HOST, settings=b"", receive_buffer=0, source="127.0.0.1"):
        self.begin(connect(address, sni, receive_buffer, source))
        self.send(PREFACE + self.frame(SETTINGS, 0, 0, settings))

    @classmethod
    def bare(cls, address):
        """Without a preface."""
        frames = cls.__new__(cls)
        frames.begin(connect(address))
        return frames

    def begin(self, s):
        self.s = s
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.held, self.came = b"", collections.deque()
        self.has_ended = False
        self.goaway_code, self.goaway_at = None, None  # of the last one, and when the first was seen

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    @staticmethod
    def frame(kind, flags, stream, payload=b""):
        return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload

    def send(self, data):
        self.s.sendall(data)

    def press(self, pieces):
        """Sends them one after the other and takes in what comes, until all are sent or the other side has had
        enough.  It is read all along: what the other side cannot get rid of is lost when it closes."""
        last = time.monotonic()
        with Duplex(self.s) as duplex:
            for piece in pieces:
                duplex.send(piece)
                while duplex.unsent and not self.has_ended:
                    left = len(duplex.unsent)
                    try:
                        came = duplex.turn()
                    except ENDED:  # what came before that is read yet
                        return
                    self.take_in(came)
                    if came or len(duplex.unsent) < left:
                        last = time.monotonic()
                    if time.monotonic() - last > SECS:
                        raise TimeoutError(f"nothing moved for {SECS} s, {len(duplex.unsent)} bytes of a piece are unsent")
                if self.has_ended:
                    return

    def head(self, *fields, path="/", method="GET", authority=HOST):
        base = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path)]
        return self.encoder.encode(base + list(fields))

    def take_in(self, data):
        """What came: None for nothing, b"" at the end."""
        if data is None:
            return
        self.has_ended = not data
        self.held += data
        while len(self.held) >= 9 and len(self.held) >= 9 + int.from_bytes(self.held[:3], "big"):
            size = int.from_bytes(self.held[:3], "big")
            kind, flags, stream = struct.unpack(">BBI", self.held[3:9])
            payload, self.held = self.held[9:9 + size], self.held[9 + size:]
            self.came.append((kind, flags, stream, payload))
            if kind == GOAWAY:
                self.goaway_code = struct.unpack(">I", payload[4:8])[0]
                self.goaway_at = self.goaway_at or time.monotonic()

    def read(self):
        """The next frame: (type, flags, stream, payload); None at the end."""
        while not self.came and not self.has_ended:
            try:
                self.take_in(self.s.recv(65536))
            except ENDED:
                self.has_ended = True
        return self.came.popleft() if self.came else None

    def find(self, kind, stream=None):
        """The first frame of that kind; None when the connection ends without one."""
        while True:
            f = self.read()
            if f is None or (f[0] == kind and stream in (None, f[2])):
                return f

    def goaway(self):
        """Reads to the end: the error that the server's last GOAWAY names, or None when it closed without one."""
        while self.read():
            pass
        return self.goaway_code
