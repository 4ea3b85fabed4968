"""The demo origin as a container: scripts/origin.py, and its route at traffic's management API.

Plays the control plane in small: makes a self-signed certificate for app.localhost, puts the route,
asks for one page through traffic, and from then on looks every few seconds whether the route is still
there (traffic may have been started anew).  `demo.py healthcheck` is 0 once all of that was so lately.

Environment: DEMO_TRAFFIC  host of traffic on the network that both are on (traffic)
             DEMO_TOKEN    file of traffic's management token, from its volume
"""
import asyncio
import http.client
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import origin

HOST_NAME = "app.localhost"
ORIGIN_PORT = 9080
MANAGEMENT_PORT = 9003
HTTPS_PORT = 8000
LOOK_SECS = 3
STALE_SECS = 20
FOLDER = pathlib.Path("/tmp")
CERTIFICATE = FOLDER / f"{HOST_NAME}.crt"
KEY = FOLDER / f"{HOST_NAME}.key"
SEEN = FOLDER / "route-seen"
TRAFFIC = os.environ.get("DEMO_TRAFFIC", "traffic")
TOKEN = pathlib.Path(os.environ.get("DEMO_TOKEN", "/var/lib/penstock/traffic/management-token"))


def make_certificate():
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "30", "-keyout", KEY, "-out", CERTIFICATE, "-subj", f"/CN={HOST_NAME}",
         "-addext", f"subjectAltName=DNS:{HOST_NAME}"],
        check=True, capture_output=True)


def own_address():
    """This container's address on the network where traffic is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((TRAFFIC, MANAGEMENT_PORT))
        return s.getsockname()[0]


def call(method, path, body=None):
    connection = http.client.HTTPConnection(TRAFFIC, MANAGEMENT_PORT, timeout=10)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {
            "Authorization": f"Bearer {TOKEN.read_text().split()[0]}",
            "Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def has_route(address):
    status, body = call("GET", f"/v1/routes/{HOST_NAME}")
    if status == 404:
        return False
    if status != 200:
        raise OSError(f"GET: {status} {body!r}")
    route = json.loads(body)
    return route["destinationIps"] == [address] and route["publicKey"].strip() == CERTIFICATE.read_text().strip()


def put_route(address):
    status, body = call("PUT", f"/v1/routes/{HOST_NAME}", {
        "hostName": HOST_NAME, "destinationIps": [address], "destinationPorts": [ORIGIN_PORT],
        "publicKey": CERTIFICATE.read_text(), "privateKey": KEY.read_text()})
    if status not in (200, 201):
        raise OSError(f"PUT: {status} {body!r}")


def ask_page():
    """One page the way a client gets it, but without the tunnel."""
    context = ssl.create_default_context(cafile=CERTIFICATE)
    with socket.create_connection((TRAFFIC, HTTPS_PORT), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname=HOST_NAME) as s:
            s.sendall(f"GET / HTTP/1.1\r\nHost: {HOST_NAME}\r\nConnection: close\r\n\r\n".encode())
            line = s.makefile("rb").readline()
    if line.split()[1:2] != [b"200"]:
        raise OSError(f"traffic answered {line!r}")


def keep_route():
    is_proven = False
    while True:
        try:
            address = own_address()
            if not has_route(address):
                is_proven = False
                put_route(address)
            if not is_proven:
                ask_page()
                is_proven = True
                print(f"route {HOST_NAME} -> {address}:{ORIGIN_PORT}", flush=True)
            SEEN.touch()
        except (OSError, ValueError, http.client.HTTPException) as fault:
            print(f"no route yet: {fault}", flush=True)
        time.sleep(LOOK_SECS)


def healthcheck():
    try:
        return 0 if time.time() - SEEN.stat().st_mtime < STALE_SECS else "the route was not seen lately"
    except FileNotFoundError:
        return "the route is not in yet"


def main():
    # the first process of a container has no default action for signals
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    make_certificate()
    threading.Thread(target=keep_route, daemon=True).start()
    asyncio.run(origin.main("0.0.0.0", ORIGIN_PORT))


if __name__ == "__main__":
    sys.exit(healthcheck() if sys.argv[1:] == ["healthcheck"] else main())
