"""make run: edge, hub, traffic and a sample origin on loopback, joined over their management APIs.

Everything secret is made in a temporary folder and goes with it, the logs too.  Runs until Ctrl-C, or
until one of them ends, whose status is then that of the whole (128 and the signal's number, as in a
shell); with --once it makes one request through the whole path, from 127.0.0.9 so that the client's address can be told from
the hops', prints what the origin saw, and ends 0.

While it runs, build/run.env has what the commands of the documents need, as shell variables: addresses,
tokens, configurations, state folders, logs.  It is readable for its owner only, and goes with the rest.
"""
import argparse
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys

import stack

ORIGIN = pathlib.Path(__file__).resolve().parent / "origin.py"
ENV = stack.SOURCE / "build" / "run.env"
PORTS = {"http": 8080, "https": 8443, "tunnel": 7443, "hub": 9001, "edge": 9002, "traffic": 9003,
         "origin": 9080}
CLIENT = "127.0.0.9"
LAST_LINES = 20  # that are shown of the log of a service that ended


def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_ports(any_ports):
    """Known ones to show to people; for one request and for tests whatever the kernel gives."""
    if any_ports:
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
    edge = s.edge(management_port=ports["edge"])
    edge.api("PUT", "/v1/tunnel", {"token": token}, expect=200)
    stack.wait_for("the edge's public ports", lambda: len(edge.status()["listenPorts"]) == 2)
    return hub, edge, traffic, certificate


def write_env(path, ports, certificate, services):
    """Shell variables for the documents' commands; PATH gets the programs."""
    values = {"APP_PORT": ports["https"], "APP_CERT": certificate.chain_file}
    for service in services:
        name = service.name.upper()
        host, port = service.address("management")
        values |= {name: f"http://{host}:{port}", f"{name}_TOKEN": service.token(),
                   f"{name}_CONFIG": service.conf_file, f"{name}_STATE": service.state_dir,
                   f"{name}_LOG": service.log_file, f"{name}_PID": service.pid}
    host, port = services[0].address("tunnel")
    values |= {"TUNNEL_HOST": host, "TUNNEL_PORT": port}
    lines = [f"export {key}={shlex.quote(str(value))}\n" for key, value in values.items()]
    lines.append(f"export PATH={shlex.quote(str(services[0].program.parent))}:$PATH\n")
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
        f.writelines(lines)


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
    print("\n  logs:")
    for service in services:
        print(f"    {service.log_file}")
    print("\n  or the commands of the documents, in another shell, after: . build/run.env")
    print("\n  Ctrl-C ends it\n", flush=True)


def wait_for_an_end(services, origin):
    """Until the first of them ends, which none should; its status."""
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    if origin.poll() is not None:
        print("run: the sample origin has ended", file=sys.stderr)
        return shell_status(origin.returncode)
    service = next(s for s in services if not s.is_running())
    status = shell_status(service.process.returncode)
    service.stop(None)  # its log is whole now
    print(f"run: {service.name} has ended with status {status}; the last of its log:", file=sys.stderr)
    for line in service.last_lines(LAST_LINES):
        print("   ", line, file=sys.stderr)
    return status


def shell_status(returncode):
    return returncode if returncode >= 0 else 128 - returncode


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--any-ports", action="store_true", help="whatever is free, for tests")
    parser.add_argument("--env", type=pathlib.Path, default=ENV, help="where the shell variables go")
    given = parser.parse_args()
    once = given.once
    ports = choose_ports(once or given.any_ports)
    origin, origin_port = start_origin(ports["origin"])
    try:
        with stack.Stack(logs=True) as s:
            hub, edge, traffic, certificate = start_all(s, ports, origin_port)
            if once:
                done = subprocess.run(curl(ports, certificate.chain_file, "--fail", "--max-time", "20"),
                                      check=False)
                if done.returncode:
                    raise stack.Failure(f"curl ended with {done.returncode}")
                return 0
            try:
                write_env(given.env, ports, certificate, (hub, edge, traffic))
                show(ports, certificate, (hub, edge, traffic))
                return wait_for_an_end((hub, edge, traffic), origin)
            except KeyboardInterrupt:
                print("ending")
            finally:
                given.env.unlink(missing_ok=True)
    finally:
        origin.terminate()
        origin.wait()
    return 0


def on_term(signum, frame):
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, on_term)
    sys.exit(main())
