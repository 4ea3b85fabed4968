"""A small HTTP/1.1 origin: says what reached it.  `make run` shows it, the tests ask it.

    GET /...            JSON: method, target, headers (a list of pairs, as they came), body length and sha256
    GET /bytes/N        N bytes of a fixed pattern
    POST /echo          the body, as it comes
    GET /ws             a WebSocket that echoes (RFC 6455: text and binary, unfragmented)
    GET /slow/SECS      the head at once, the body when the client goes away or after SECS
    GET /count          how many requests came so far

usage: origin.py [--port PORT] [--host 127.0.0.1]; prints one line "listening HOST PORT".
"""
import argparse
import asyncio
import base64
import hashlib
import json
import struct
import sys

PATTERN = bytes(range(251)) * 261
COUNT = 0


async def read_head(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ")
    return method, target, [tuple(l.split(": ", 1)) if ": " in l else (l.split(":", 1)[0], l.split(":", 1)[1].strip())
                            for l in lines[1:]]


def field(headers, name):
    return next((v for k, v in headers if k.lower() == name), None)


async def read_body(reader, headers):
    """Yields the body piece by piece."""
    if (field(headers, "transfer-encoding") or "").lower() == "chunked":
        while True:
            size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
            left = size
            while left:
                piece = await reader.read(min(left, 65536))
                if not piece:
                    raise ConnectionError("short chunk")
                left -= len(piece)
                yield piece
            if size:
                await reader.readexactly(2)
                continue
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return
    left = int(field(headers, "content-length") or 0)
    while left:
        piece = await reader.read(min(left, 65536))
        if not piece:
            raise ConnectionError("short body")
        left -= len(piece)
        yield piece


def head(status, length=None, **more):
    lines = [f"HTTP/1.1 {status}"]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    lines += [f"{k.replace('_', '-')}: {v}" for k, v in more.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def send_pattern(writer, n):
    writer.write(head("200 OK", n, Content_Type="application/octet-stream"))
    while n > 0:
        piece = PATTERN[:min(n, len(PATTERN))]
        writer.write(piece)
        await writer.drain()
        n -= len(piece)


async def echo(reader, writer, headers):
    length = field(headers, "content-length")
    if length is not None:
        writer.write(head("200 OK", int(length)))
        async for piece in read_body(reader, headers):
            writer.write(piece)
            await writer.drain()
        return
    writer.write(head("200 OK", Transfer_Encoding="chunked"))
    async for piece in read_body(reader, headers):
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        await writer.drain()
    writer.write(b"0\r\n\r\n")


async def websocket(reader, writer, headers):
    key = field(headers, "sec-websocket-key") or ""
    accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
    writer.write(head("101 Switching Protocols", Upgrade="websocket", Connection="Upgrade",
                      Sec_WebSocket_Accept=accept.decode()))
    while True:
        first, second = await reader.readexactly(2)
        length = second & 127
        if length == 126:
            length, = struct.unpack("!H", await reader.readexactly(2))
        elif length == 127:
            length, = struct.unpack("!Q", await reader.readexactly(8))
        mask = await reader.readexactly(4) if second & 128 else b"\0\0\0\0"
        data = bytes(b ^ mask[i % 4] for i, b in enumerate(await reader.readexactly(length)))
        size = bytes([length]) if length < 126 else b"\x7e" + struct.pack("!H", length)
        writer.write(bytes([first]) + size + data)
        await writer.drain()
        if first & 15 == 8:
            return


async def describe(reader, writer, method, target, headers):
    digest, length = hashlib.sha256(), 0
    async for piece in read_body(reader, headers):
        digest.update(piece)
        length += len(piece)
    body = json.dumps({
        "method": method, "target": target, "headers": headers,
        "client": field(headers, "x-forwarded-for"),
        "peer": writer.get_extra_info("peername")[0],
        "bodyBytes": length, "bodySha256": digest.hexdigest(),
    }, indent=1).encode() + b"\n"
    writer.write(head("200 OK", len(body), Content_Type="application/json"))
    if method != "HEAD":
        writer.write(body)


async def answer(reader, writer):
    global COUNT
    method, target, headers = await read_head(reader)
    COUNT += 1
    if (field(headers, "expect") or "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if target.startswith("/bytes/"):
        await send_pattern(writer, int(target[len("/bytes/"):]))
    elif target == "/echo":
        await echo(reader, writer, headers)
    elif target == "/ws":
        await websocket(reader, writer, headers)
        return False
    elif target.startswith("/slow/"):
        writer.write(head("200 OK", 2))
        await writer.drain()
        await asyncio.wait([asyncio.ensure_future(reader.read(1))], timeout=float(target[6:]))
        writer.write(b"ok")
    elif target == "/count":
        body = str(COUNT).encode()
        writer.write(head("200 OK", len(body)) + body)
    else:
        await describe(reader, writer, method, target, headers)
    await writer.drain()
    return (field(headers, "connection") or "").lower() != "close"


async def serve_connection(reader, writer):
    try:
        while await answer(reader, writer):
            pass
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError, ValueError):
        pass
    finally:
        writer.close()


async def main(host, port):
    server = await asyncio.start_server(serve_connection, host, port, backlog=4096, limit=1 << 20)
    print("listening", *server.sockets[0].getsockname()[:2], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    try:
        asyncio.run(main(options.host, options.port))
    except KeyboardInterrupt:
        sys.exit(0)
