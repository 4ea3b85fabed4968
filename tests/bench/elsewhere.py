"""Other people's tunnels, built from their registries into build/bench/peers at exact versions, with ports of
their own on loopback.  What cannot be had is peers.Missing, with the reason.
"""
import functools
import os
import pathlib
import re
import shutil
import subprocess

import netns
import peers
from peers import Process, SOURCE, penstock

CACHE = SOURCE / "build" / "bench" / "peers"
BUILD_SECS = 1200
GO_PATH = ":/usr/local/go/bin"
CARGO_PATH = f":{pathlib.Path.home()}/.cargo/bin"

FRP = ("github.com/fatedier/frp", "v0.61.1")
CHISEL = ("github.com/jpillora/chisel", "v1.10.1")
RATHOLE = ("rathole", "0.5.0", "server", "client", "noise")


def tool(name, more):
    path = shutil.which(name, path=os.environ["PATH"] + more)
    if not path:
        raise peers.Missing(f"{name} is not installed")
    return path


def build(argv, environment):
    """A failure is told by the line of it that says most."""
    try:
        with netns.outside():
            done = subprocess.run(argv, env={**os.environ, **environment}, capture_output=True, text=True,
                                  timeout=BUILD_SECS)
    except subprocess.TimeoutExpired:
        raise peers.Missing(f"{argv[0]} took more than {BUILD_SECS} s") from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = [line for line in lines if re.search("error|forbidden|not available|reading", line, re.I)] or lines
        why = re.sub(r"\w+://\S+: ", "", said[0]) if said else f"status {done.returncode}"
        raise peers.Missing(f"{pathlib.Path(argv[0]).name} {argv[1]}: {why}")


@functools.cache
def go_program(package, module, version):
    """By a module of our own that requires that very version: `go install` would ask for all versions there are,
    which a proxy need not have."""
    name = package.rsplit("/", 1)[-1]
    folder = CACHE / f"{name}-{version}"
    if not (folder / name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "go.mod").write_text(f"module peer\n\nrequire {module} {version}\n")
        build([tool("go", GO_PATH), "-C", folder, "build", "-o", folder / name, package],
              {"GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"})
    return folder / name


@functools.cache
def crate(name, version, *features):
    """With the dependencies that it was released with; where today's compiler refuses those, with newer ones."""
    folder = CACHE / f"{name}-{version}"
    if not (folder / "bin" / name).exists():
        argv = [tool("cargo", CARGO_PATH), "install", "--root", folder, "--version", version,
                "--no-default-features", "--features", ",".join(features), name]
        environment = {"CARGO_TARGET_DIR": str(CACHE / "target")}
        try:
            build([*argv, "--locked"], environment)
        except peers.Missing:
            build(argv, environment)
    return folder / "bin" / name


def conf(folder, name, port, text):
    path = pathlib.Path(folder) / f"{name}-{port}.toml"
    path.write_text(text)
    return str(path)


# --- TCP: (folder, certificate, target) -> (port, processes)

def frp(mode, kind="tcp"):
    """`mode`: quic, tls or plain."""
    def start(folder, certificate, target):
        server, client = (go_program(f"{FRP[0]}/cmd/{name}", *FRP) for name in ("frps", "frpc"))
        between, front = penstock.free_port(), penstock.free_port()
        quic = f"quicBindPort = {between}\n" if mode == "quic" else ""
        at_server = conf(folder, "frps", between, f'bindAddr = "127.0.0.1"\nbindPort = {between}\n{quic}log.level = "error"\n')
        at_client = conf(folder, "frpc", between, f"""
serverAddr = "127.0.0.1"
serverPort = {between}
log.level = "error"
transport.protocol = "{'quic' if mode == 'quic' else 'tcp'}"
transport.tls.enable = {'false' if mode == 'plain' else 'true'}
[[proxies]]
name = "bench"
type = "{kind}"
localIP = "127.0.0.1"
localPort = {target}
remotePort = {front}
""")
        first = Process([server, "-c", at_server], [between])
        return front, [first, Process([client, "-c", at_client], [front] if kind == "tcp" else [])]
    return start


def chisel(folder, certificate, target):
    path = go_program(CHISEL[0], *CHISEL)
    between, front = penstock.free_port(), penstock.free_port()
    server = Process([path, "server", "--host", "127.0.0.1", "--port", str(between)], [between])
    return front, [server, Process([path, "client", f"127.0.0.1:{between}",
                                    f"127.0.0.1:{front}:127.0.0.1:{target}"], [front])]


def noise_keys(path):
    """(private, public)"""
    text = subprocess.run([path, "--genkey"], capture_output=True, text=True, check=True).stdout
    return [line.strip() for line in text.splitlines() if re.fullmatch(r"[A-Za-z0-9+/=]{44}", line.strip())]


def rathole(mode, kind="tcp"):
    """`mode`: noise (its own encryption) or plain."""
    def start(folder, certificate, target):
        path = crate(*RATHOLE)
        between, front = penstock.free_port(), penstock.free_port()
        at_server = at_client = ""
        if mode == "noise":
            private, public = noise_keys(path)
            at_server, at_client = (f"""
[{side}.transport]
type = "noise"
[{side}.transport.noise]
{key}
""" for side, key in (("server", f'local_private_key = "{private}"'), ("client", f'remote_public_key = "{public}"')))
        server = conf(folder, "rathole-server", between, f"""
[server]
bind_addr = "127.0.0.1:{between}"
default_token = "bench"
{at_server}
[server.services.bench]
type = "{kind}"
bind_addr = "127.0.0.1:{front}"
""")
        client = conf(folder, "rathole-client", between, f"""
[client]
remote_addr = "127.0.0.1:{between}"
default_token = "bench"
{at_client}
[client.services.bench]
type = "{kind}"
local_addr = "127.0.0.1:{target}"
""")
        first = Process([path, "--server", server], [between])
        return front, [first, Process([path, "--client", client], [front] if kind == "tcp" else [])]
    return start


TUNNELS = {"frp, QUIC": frp("quic"), "frp, TLS": frp("tls"), "frp, plain": frp("plain"), "chisel": chisel,
           "rathole, noise": rathole("noise"), "rathole, plain": rathole("plain")}
UDP = {"frp, QUIC": frp("quic", "udp"), "frp, plain": frp("plain", "udp"), "rathole": rathole("plain", "udp")}
