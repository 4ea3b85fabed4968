"""Streams of the tunnel as TCP's users know them: half-close, reset, addresses, stalled readers."""
import asyncio
import contextlib
import hashlib
import random
import socket
import struct
import threading
import time
import unittest

import e2e


class HalfClose(e2e.Case):
    """FIN and RST pass one to one, each direction by itself, with every byte."""

    def test_client_ends_first_and_still_gets_everything(self):
        def answer_after_end(s):
            digest = hashlib.sha256(e2e.receive_all(s)).hexdigest().encode()
            s.sendall(digest + b"x" * 1_000_000)
            s.shutdown(socket.SHUT_WR)

        target = e2e.Target(answer_after_end)
        self.tunnel([target.port])
        data = random.Random(1).randbytes(3_000_000)
        with e2e.connect(self.ports[0]) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            got = e2e.receive_all(s)
        self.assertEqual(got[:64].decode(), hashlib.sha256(data).hexdigest())
        self.assertEqual(len(got), 64 + 1_000_000)

    def test_server_ends_first_and_still_gets_everything(self):
        received = []

        def end_then_read(s):
            s.sendall(b"bye")
            s.shutdown(socket.SHUT_WR)
            received.append(e2e.receive_all(s))

        target = e2e.Target(end_then_read)
        self.tunnel([target.port])
        with e2e.connect(self.ports[0]) as s:
            self.assertEqual(e2e.receive_all(s), b"bye")
            s.sendall(b"y" * 2_000_000)
            s.shutdown(socket.SHUT_WR)
            e2e.wait_for("the target's bytes", lambda: received)
        self.assertEqual(received[0], b"y" * 2_000_000)

    def test_client_reset_resets_the_target(self):
        outcome = []
        target = e2e.Target(lambda s: outcome.append(e2e.is_reset(s)))
        self.tunnel([target.port])
        s = e2e.connect(self.ports[0])
        s.sendall(b"hello")
        target.wait_header()
        e2e.reset(s)
        e2e.wait_for("the target's end", lambda: outcome)
        self.assertEqual(outcome, [True])

    def test_target_reset_resets_the_client(self):
        target = e2e.Target(lambda s: (s.recv(1), e2e.reset(s)))
        self.tunnel([target.port])
        with e2e.connect(self.ports[0]) as s:
            s.sendall(b"x")
            self.assertTrue(e2e.is_reset(s))

    def test_target_that_is_down_resets_the_client_at_once(self):
        closed = e2e.penstock.free_port()
        self.tunnel([closed])
        with e2e.connect(self.ports[0], secs=4) as s:
            self.assertTrue(e2e.is_reset(s))
        e2e.wait_for("the count of unreachable targets",
                     lambda: self.edge.metric("penstock_edge_streams_reset_by_hub_total", reason="unreachable") == 1)


class Ends(e2e.Case):
    """Clients that have ended their side, of a stream whose other side has ended too, and do not read what is left."""

    BYTES = 12_000_000
    STEP = 16384

    def answer_and_end(self, s):
        with contextlib.suppress(OSError):
            s.recv(2)
            s.sendall(bytes(self.BYTES))
            s.shutdown(socket.SHUT_WR)
            e2e.receive_all(s)

    def until_the_stream_has_ended(self):
        """A client that read no further than it had to for that, and how many bytes it has."""
        s = socket.socket()
        self.addCleanup(s.close)
        s.settimeout(e2e.SECS)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.STEP)
        s.connect(("127.0.0.1", self.ports[0]))
        s.sendall(b"go")
        s.shutdown(socket.SHUT_WR)
        got = len(s.recv(1))
        while self.hub.metric("penstock_hub_streams_open") > 0:
            got += len(s.recv(self.STEP))
        return s, got

    def closed(self, result):
        return self.edge.metric("penstock_edge_streams_closed_total", result=result)

    def test_one_that_reads_no_more_is_reset(self):
        self.tunnel([e2e.Target(self.answer_and_end).port], edge={"workers": 1, "limits": {"flushSecs": 1}})
        for _ in range(10):  # its kernel may have room for all that is left
            s, _ = self.until_the_stream_has_ended()
            e2e.wait_for("its end", lambda: self.edge.metric("penstock_edge_connections_open") == 0)
            if self.closed("flush_timeout") > 0:
                break
        self.assertEqual(self.closed("flush_timeout"), 1)
        self.assertEqual(self.closed("reset"), 0)
        self.assertTrue(e2e.is_reset(s))

    def test_one_that_reads_slowly_gets_it_all(self):
        """For longer than flushSecs, and so little that the edge's kernel asks for no more in that time."""
        self.tunnel([e2e.Target(self.answer_and_end).port], edge={"workers": 1, "limits": {"flushSecs": 4}})
        s, got = self.until_the_stream_has_ended()
        until = time.monotonic() + 10
        while time.monotonic() < until and got < self.BYTES:
            got += len(s.recv(self.STEP))
            threading.Event().wait(0.3)  # slowly: that is the point
        got += len(e2e.receive_all(s))
        self.assertEqual(got, self.BYTES)
        self.assertEqual(self.closed("flush_timeout"), 0)


class CutShort(e2e.Case):
    """What is cut short does not look complete, and what was said before is heard."""

    def test_an_answer_to_a_request_that_still_comes(self):
        """A server that answers early and closes: the rest of the request makes its kernel send RST."""
        answer = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nsorry"

        def refuse(s):
            s.recv(300)
            s.sendall(answer)

        target = e2e.Target(refuse)
        for mode in ("tcpTls", "quic"):
            with self.subTest(mode):
                self.tunnel([target.port], edge_id=mode.lower(), edge={"transportMode": mode, "workers": 1})
                for _ in range(20):
                    self.assertEqual(self.refused(self.ports[0], len(answer)), answer)

    @staticmethod
    def refused(port, size):
        with e2e.connect(port) as s:
            with contextlib.suppress(ConnectionError):
                s.sendall(b"x" * 200_000)
            return e2e.receive(s, size)

    def test_a_killed_edge(self):
        self.assert_killed(lambda: self.edge)

    def test_a_killed_hub(self):
        self.assert_killed(lambda: self.hub)

    def assert_killed(self, victim):
        """Both ends are reset, though what the kernel knows of them would do for a FIN."""
        ends = []
        target = e2e.Target(lambda s: (s.sendall(b"begun"), ends.append(e2e.is_reset(s))))
        self.tunnel([target.port])
        with e2e.connect(self.ports[0]) as s:
            self.assertEqual(e2e.receive(s, 5), b"begun")
            victim().kill()
            self.assertTrue(e2e.is_reset(s))
        e2e.wait_for("the target's end", lambda: ends)
        self.assertEqual(ends, [True])


class Addresses(e2e.Case):
    """The target learns the client's address and the address that it was accepted on."""

    def test_v1(self):
        target = e2e.Target(e2e.echo)
        self.tunnel([target.port])
        with e2e.connect(self.ports[0], source="127.0.0.7") as s:
            source_port = s.getsockname()[1]
            s.sendall(b"x")
            self.assertEqual(e2e.receive(s, 1), b"x")
        self.assertEqual(target.headers, [
            f"PROXY TCP4 127.0.0.7 127.0.0.1 {source_port} {self.ports[0]}\r\n".encode()])

    def test_v2(self):
        target = e2e.Target(e2e.echo, proxy="v2")
        self.tunnel([{"host": "127.0.0.1", "port": target.port, "proxyProtocol": "v2"}])
        with e2e.connect(self.ports[0], source="127.0.0.7") as s:
            source_port = s.getsockname()[1]
            s.sendall(b"x")
            self.assertEqual(e2e.receive(s, 1), b"x")
        self.assertEqual(target.headers[0], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + socket.inet_aton("127.0.0.7") +
                         socket.inet_aton("127.0.0.1") + struct.pack("!HH", source_port, self.ports[0]))

    def test_off(self):
        target = e2e.Target(e2e.echo, proxy=None)
        self.tunnel([{"host": "127.0.0.1", "port": target.port, "proxyProtocol": "off"}])
        with e2e.connect(self.ports[0]) as s:
            s.sendall(b"nothing in front")
            self.assertEqual(e2e.receive(s, 16), b"nothing in front")


class Fairness(e2e.Case):
    def test_one_stalled_reader_among_1000_stalls_nobody_else(self):
        """The stalled client asks for 64 MiB and never reads; the others' echoes all come back."""
        async def serve(reader, writer):
            while data := await reader.read(65536):
                if data == b"flood":
                    for _ in range(1024):
                        writer.write(bytes(65536))
                        await writer.drain()
                else:
                    writer.write(data)
                    await writer.drain()

        target = e2e.AsyncTarget(serve)
        self.addCleanup(target.close)
        self.tunnel([target.port])
        stalled = e2e.connect(self.ports[0])
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.sendall(b"flood")
        e2e.wait_for("the stalled stream to run out of credit",
                     lambda: self.hub.metric("penstock_hub_window_stalls_total") > 0)

        async def one(i):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[0])
            for round_ in range(3):
                message = f"{i}:{round_};".encode() * 100
                writer.write(message)
                if await reader.readexactly(len(message)) != message:
                    return False
            writer.close()
            return True

        async def others():
            return await asyncio.gather(*(one(i) for i in range(999)))

        self.assertEqual(sum(e2e.run_async(others())), 999)
        stalled.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
