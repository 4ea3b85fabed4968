"""Keep-alive requests at a fixed rate over 32 connections; prints {"p50", "p99", "rate"} in seconds.

Latency counts from when a request was due, so that a server that stalls is not let off (no coordinated
omission).      usage: paced.py PORT RATE SECS
"""
import asyncio
import json
import sys
import time

CONNECTIONS = 32
REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


async def client(port, first, every, end, found):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    due = first
    while due < end:
        now = time.perf_counter()
        if now < due:
            await asyncio.sleep(due - now)
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r")[0])
        await reader.readexactly(length)
        found.append(time.perf_counter() - due)
        due += every
    writer.close()


async def main(port, rate, secs):
    found, start = [], time.perf_counter() + 0.2
    every = CONNECTIONS / rate
    await asyncio.gather(*(client(port, start + i * every / CONNECTIONS, every, start + secs, found)
                           for i in range(CONNECTIONS)))
    found.sort()
    print(json.dumps({"p50": found[len(found) // 2], "p99": found[len(found) * 99 // 100],
                      "rate": len(found) / secs}))


asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
