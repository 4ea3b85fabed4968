"""websockets (Debian's package python3-websockets) on both sides of traffic, over HTTP/1.1: what its client sends its
server gets, and the other way round: texts and binary messages of each length of a frame's head, fragments with pings
in between, pings, close codes of either side, connections that break off, permessage-deflate and subprotocols, which
both ends negotiate with each other and not with traffic.

The server echoes; a text that is a JSON object has it do something else.
"""
import asyncio
import contextlib
import json
import random
import unittest

import extra
from traffic_stand import HOST, SECS, Stand, stack

LENGTHS = (0, 1, 125, 126, 65_535, 65_536, 1_000_000)  # RFC 6455 5.2 has three forms of a length
MESSAGE_MAX = 2_000_000
FRAGMENTS = ["first ", "", "second ", "x" * 70_000, " last"]
CLIENTS = 20
EACH = 50
ROOM = 10_000  # bytes of a handshake, and of a megabyte of one letter deflated


def extensions(ws):
    """What the server's 101 says; new releases have it elsewhere."""
    headers = ws.response_headers if hasattr(ws, "response_headers") else ws.response.headers
    return headers.get("Sec-WebSocket-Extensions", "")


async def fragments():
    for piece in FRAGMENTS:
        yield piece


class Server:
    """`ends`: close code and reason of each connection, as the server has seen it."""

    def __init__(self):
        self.ends, self.extensions = asyncio.Queue(), []

    async def handle(self, ws, *_):
        self.extensions.append(extensions(ws))
        with contextlib.suppress(websockets.ConnectionClosed):
            async for message in ws:
                command = json.loads(message) if message[:2] == '{"' else {}
                if "close" in command:
                    await ws.close(command["close"], command["reason"])
                elif "abort" in command:
                    ws.transport.abort()
                elif "ping" in command:
                    await (await ws.ping(command["ping"]))
                    await ws.send("ponged")
                elif "fragments" in command:
                    await ws.send(fragments())
                else:
                    await ws.send(message)
        await ws.wait_closed()
        await self.ends.put((ws.close_code, ws.close_reason))


class WebSockets(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.stand = self.enterContext(Stand(workers=2))

    async def asyncSetUp(self):
        self.server = Server()
        listener = await self.enterAsyncContext(websockets.serve(
            self.server.handle, "127.0.0.1", 0, max_size=MESSAGE_MAX, subprotocols=["a.example", "b.example"]))
        self.port = listener.sockets[0].getsockname()[1]
        self.stand.routes([self.stand.route(HOST, [self.port])])

    async def connect(self, path="/", subprotocol="a.example", **options):
        return await self.enterAsyncContext(websockets.connect(
            f"wss://{HOST}{path}", host=self.stand.https[0], port=self.stand.https[1], ssl=stack.tls_context(),
            server_hostname=HOST, subprotocols=["other.example", subprotocol], max_size=MESSAGE_MAX, **options))

    async def echo(self, ws, message):
        await ws.send(message)
        heard = await asyncio.wait_for(ws.recv(), SECS)
        self.assertIs(type(heard), type(message))
        self.assertTrue(heard == message, f"{len(message)} went, {len(heard)} came, or others")

    async def end_at_server(self):
        return await asyncio.wait_for(self.server.ends.get(), SECS)

    async def line(self, path):
        return await asyncio.to_thread(self.stand.traffic.wait_event, "request", path=path)

    async def test_messages(self):
        dice = random.Random(6455)
        ws = await self.connect()
        for length in LENGTHS:
            await self.echo(ws, dice.randbytes(length))
            await self.echo(ws, "".join(dice.choices("aß€😀", k=length)) if length < 500_000 else "ß" * (length // 2))

    async def test_fragments_both_ways(self):
        """A ping may come between two fragments."""
        ws = await self.connect()

        async def with_pings():
            for piece in FRAGMENTS:
                yield piece
                await asyncio.wait_for(await ws.ping(), SECS)
        await ws.send(with_pings())
        self.assertEqual(await asyncio.wait_for(ws.recv(), SECS), "".join(FRAGMENTS))
        await ws.send('{"fragments": 1}')
        self.assertEqual(await asyncio.wait_for(ws.recv(), SECS), "".join(FRAGMENTS))

    async def test_pings_both_ways(self):
        ws = await self.connect()
        for data in (b"", b"x", b"x" * 125):
            await asyncio.wait_for(await ws.ping(data), SECS)
        await ws.send('{"ping": "are you there?"}')
        self.assertEqual(await asyncio.wait_for(ws.recv(), SECS), "ponged")

    async def test_close_codes(self):
        for code, reason in ((1000, ""), (1001, "going away"), (1011, "ü" * 61), (3000, "registered"), (4999, "our own")):
            ws = await self.connect()
            await ws.close(code, reason)
            self.assertEqual(await self.end_at_server(), (code, reason))
            ws = await self.connect()
            await ws.send(json.dumps({"close": code, "reason": reason}))
            with self.assertRaises(websockets.ConnectionClosed):
                await asyncio.wait_for(ws.recv(), SECS)
            self.assertEqual((ws.close_code, ws.close_reason), (code, reason))
            await self.end_at_server()

    async def test_message_too_big(self):
        """The server refuses it by code 1009 while the client sends."""
        ws = await self.connect(compression=None)
        with self.assertRaises(websockets.ConnectionClosed):
            await ws.send(b"x" * (MESSAGE_MAX + 1))
            await asyncio.wait_for(ws.recv(), SECS)
        self.assertEqual(ws.close_code, 1009)

    async def test_broken_off(self):
        """Without a close frame: the other end sees that there was none (1006)."""
        ws = await self.connect()
        await self.echo(ws, "here")
        ws.transport.abort()
        self.assertEqual((await self.end_at_server())[0], 1006)
        ws = await self.connect()
        await ws.send('{"abort": 1}')
        with self.assertRaises(websockets.ConnectionClosed):
            await asyncio.wait_for(ws.recv(), SECS)
        self.assertEqual(ws.close_code, 1006)

    async def test_deflate_is_the_ends_own(self):
        """Negotiated through traffic, and what traffic moves is what they have deflated."""
        for compression, path in (("deflate", "/deflate"), (None, "/plain")):
            ws = await self.connect(path, compression=compression)
            self.assertEqual(extensions(ws), self.server.extensions[-1])
            self.assertEqual("permessage-deflate" in extensions(ws), compression is not None)
            await self.echo(ws, "x" * 1_000_000)
            await ws.close()
            line = await self.line(path)
            self.assertEqual((line["protocol"], line["status"]), ("HTTP/1.1", 101))
            for direction in "bytesIn", "bytesOut":
                self.assertEqual(line[direction] < ROOM, compression is not None, line)
                self.assertGreater(line[direction], 100)

    async def test_subprotocol(self):
        for name in "a.example", "b.example":
            self.assertEqual((await self.connect(subprotocol=name)).subprotocol, name)

    async def test_many_at_once(self):
        async def client(number):
            ws = await self.connect()
            for n in range(EACH):
                await self.echo(ws, f"client {number}, message {n} " + "x" * n * 100)
            await ws.close(4000 + number)
        await asyncio.gather(*map(client, range(CLIENTS)))
        ends = [(await self.end_at_server())[0] for _ in range(CLIENTS)]
        self.assertEqual(sorted(ends), [4000 + number for number in range(CLIENTS)])
        self.assertEqual(self.stand.traffic.metric("penstock_traffic_upgrades_total"), CLIENTS)


if __name__ == "__main__":
    try:
        import websockets
    except ImportError:
        extra.not_run("there is no websockets for Python here (Debian's package python3-websockets)")
    unittest.main(verbosity=2)
