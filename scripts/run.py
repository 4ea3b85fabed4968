"""make run: edge, hub, traffic and a sample origin on loopback, joined over their management APIs.

Everything secret is made in a temporary folder and goes with it.  Runs until Ctrl-C; with --once it
makes one request through the whole path, from 127.0.0.9 so that the client's address can be told from
the hops', prints what the origin saw, and ends 0.
"""
import argparse
import pathlib
import signal
import socket
import subprocess
import sys

import stack

ORIGIN = pathlib.Path(__file__).resolve().parent / "origin.py"
PORTS = {"http": 8080, "https": 8443, "tunnel": 7443, "hub": 9001, "edge": 9002, "traffic": 9003,
         "origin": 9080}
CLIENT = "127.0.0.9"


def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_ports(once):
    """Known ones to show to people; for one request whatever the kernel gives."""
    if once:
        return {name: stack.free_port() if name in ("http", "https") else 0 for name in PORTS}
    taken = [str(p) for p in PORTS.values() if not is_free(p)]
    if taken:
        sys.exit(f"run: port {', '.join(taken)} on 127.0.0.1 is in use; end what uses it, "
                 "or try `make run ONCE=1`, which needs no fixed ports")
    return PORTS


def start_origin(port):
    process = subprocess.Popen([sys.executable, ORIGIN, "--port", str(port)],
                               stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline().split()
    if len(line) != 3:
        sys.exit("run: the sample origin did not start")
    return process, int(line[2])


def curl(ports, cert, *more):
    return ["curl", "-sS", "--interface", CLIENT, "--cacert", str(cert),
            "--resolve", f"app.localhost:{ports['https']}:127.0.0.1", *more,
            f"https://app.localhost:{ports['https']}/hello"]


def start_all(s, ports, origin_port):
    certificate = stack.Certificate(s.folder, "app.localhost")
    traffic = s.traffic(management_port=ports["traffic"],
                        http={"redirectPort": ports["https"]})
    traffic.api("PUT", "/v1/routes", {"routes": [{
        "hostName": "app.localhost", "destinationIps": ["127.0.0.1"],
        "destinationPorts": [origin_port], "publicKey": certificate.chain,
        "privateKey": certificate.key}]}, expect=200)
    hub = s.hub({ports["http"]: traffic.address("http")[1], ports["https"]: traffic.address("https")[1]},
                tunnel_port=ports["tunnel"], management_port=ports["hub"])
    token = s.register(hub, "demo", [ports["http"], ports["https"]])
    edge = s.edge(token, management_port=ports["edge"])
    stack.wait_for("the edge's public ports", lambda: len(edge.status()["listenPorts"]) == 2)
    return hub, edge, traffic, certificate


def show(ports, certificate, services):
    print(f"\n  edge, hub and traffic are running; what they keep is in {certificate.chain_file.parent}")
    hub = services[0]
    print(f"\n  https://app.localhost:{ports['https']}/     (the certificate is self-signed)")
    print("  http://%s:%d/          (the hub's dashboard; " % hub.address("management") +
          f"its token is in {hub.state_dir}/management-token)\n\n  try:")
    print("   ", " ".join(curl(ports, certificate.chain_file)))
    print(f"    curl -si http://app.localhost:{ports['http']}/ --resolve app.localhost:{ports['http']}:127.0.0.1")
    for service in services:
        host, port = service.address("management")
        print(f"    curl -s -H \"Authorization: Bearer $(cat {service.state_dir}/management-token)\" "
              f"http://{host}:{port}/v1/status")
    print("\n  Ctrl-C ends it\n", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--once", action="store_true")
    once = parser.parse_args().once
    ports = choose_ports(once)
    origin, origin_port = start_origin(ports["origin"])
    try:
        with stack.Stack() as s:
            hub, edge, traffic, certificate = start_all(s, ports, origin_port)
            if once:
                done = subprocess.run(curl(ports, certificate.chain_file, "--fail", "--max-time", "20"),
                                      check=False)
                if done.returncode:
                    raise stack.Failure(f"curl ended with {done.returncode}")
                return 0
            show(ports, certificate, (hub, edge, traffic))
            try:
                signal.pause()
            except KeyboardInterrupt:
                pass
            print("ending")
    finally:
        origin.terminate()
        origin.wait()
    return 0


def on_term(signum, frame):
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, on_term)
    sys.exit(main())
