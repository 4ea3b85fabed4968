"""Runs inside a container next to what it asks, given on standard input: see run.py.

usage: python3 client.py get HOST PORT SERVER_NAME PATH [FIELD: VALUE]   JSON {own, status, body}
       python3 client.py reach HOST PORT                                 JSON {reached, why}
The certificate to trust comes in CERTIFICATE.
"""
import http.client
import json
import os
import socket
import ssl
import sys


def get(host, port, name, path, *fields):
    context = ssl.create_default_context(cadata=os.environ["CERTIFICATE"])
    plain = socket.create_connection((host, int(port)), timeout=15)
    own = plain.getsockname()[0]
    connection = http.client.HTTPSConnection(name, int(port), timeout=15)
    connection.sock = context.wrap_socket(plain, server_hostname=name)
    connection.request("GET", path, headers=dict(f.split(": ", 1) for f in fields) | {"Host": name})
    response = connection.getresponse()
    return {"own": own, "status": response.status, "body": response.read().decode()}


def reach(host, port):
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except OSError as fault:
        return {"reached": False, "why": str(fault)}
    return {"reached": True, "why": ""}


print(json.dumps({"get": get, "reach": reach}[sys.argv[1]](*sys.argv[2:])))
