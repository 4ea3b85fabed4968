#!/usr/bin/env python3
"""The images and compose.yaml as a user has them: built, started with one command, asked through the
published ports, looked at from inside the networks, stopped, and taken down, also when a check fails.

Needs an engine with Compose v2 and buildx, ports 80, 443, 9001 to 9003 and 9090 of this machine, curl, root
(for /proc of the containers).                            usage: tests/compose/run.py [--keep]
"""
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.parse

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import doc_blocks  # noqa: E402

CLIENT = pathlib.Path(__file__).resolve().with_name("client.py").read_text()
ALERTS = ROOT / "helm" / "penstock" / "files" / "alerts.yaml"
CHART_TEST = ROOT / "helm" / "penstock" / "files" / "test.sh"
PROJECT = "penstock-check"
PRODUCT = {"hub": 9001, "traffic": 9003, "edge": 9002}
IMAGE_MAX = 20_000_000
# in docs/containers.md, word for word
DOCUMENTED = "curl -sk https://app.localhost/hello"


def run(*command, check=True, given=None, secs=600, env=None):
    done = subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, timeout=secs,
                          env=env, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))[:300]}: exit {done.returncode}\n"
                             f"{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done


def compose(*arguments, **options):
    return run("docker", "compose", "-p", PROJECT, *arguments, **options)


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def wait_for(what, condition, secs=40):
    end = time.monotonic() + secs
    while not (value := condition()):
        expect(time.monotonic() < end, f"not within {secs} s: {what}")
        time.sleep(0.2)
    return value


def container(service):
    return compose("ps", "-aq", service).stdout.split()[0]


def inspect(service):
    return json.loads(run("docker", "inspect", container(service)).stdout)[0]


def address(service, network):
    return inspect(service)["NetworkSettings"]["Networks"][f"{PROJECT}_{network}"]["IPAddress"]


def token(service):
    return compose("exec", "-T", service, f"/penstock-{service}", "management-token").stdout.strip()


def api(service, path="/v1/status", bearer=None):
    """Through the published port; (status, body)."""
    fields = ["-H", f"Authorization: Bearer {bearer}"] if bearer else []
    out = run("curl", "-sS", "--max-time", "10", "-w", "\n%{http_code}", *fields,
              f"http://127.0.0.1:{PRODUCT[service]}{path}").stdout
    body, status = out.rsplit("\n", 1)
    return int(status), body


def certificate(of="demo"):
    return compose("exec", "-T", of, "cat", "/tmp/app.localhost.crt").stdout


def inside(network, *arguments, trusted=""):
    """client.py in a container of its own, on a network or in another container's place."""
    out = run("docker", "run", "--rm", "-i", "--network", network, "--cap-drop", "ALL", "-e", "CERTIFICATE",
              "--entrypoint", "python3", f"{PROJECT}-demo", "-", *arguments,
              given=CLIENT, env=dict(os.environ, CERTIFICATE=trusted)).stdout
    return json.loads(out)


def hello(*more):
    return run("curl", "-sk", "--max-time", "20", *more, "https://app.localhost/hello", check=False)


# --- checks, in this order; each finds what the one before left

def published(*files, **variables):
    """service -> {port within: port of the machine}, as Compose reads the files with these variables."""
    given = [word for file in (ROOT / "compose.yaml", *files) for word in ("-f", file)]
    out = run("docker", "compose", *given, "--profile", "*", "config", "--format", "json",
              env=dict(os.environ, **variables)).stdout
    return {name: {f"{p['target']}/{p['protocol']}": p["published"] for p in service.get("ports", [])}
            for name, service in json.loads(out)["services"].items()}


def check_configuration():
    compose("config", "-q")
    services = set(compose("config", "--services").stdout.split())
    expect(services == set(PRODUCT), f"without a profile there are {services}")
    names = {"HTTP": ("edge", "80/tcp"), "HTTPS": ("edge", "443/tcp"), "HUB": ("hub", "9001/tcp"),
             "EDGE": ("edge", "9002/tcp"), "TRAFFIC": ("traffic", "9003/tcp"), "PROMETHEUS": ("prometheus", "9090/tcp")}
    told = (ROOT / "docs" / "containers.md").read_text()
    found = published(**{f"PUBLISHED_{name}": str(20000 + i) for i, name in enumerate(names)})
    for i, (name, (service, port)) in enumerate(names.items()):
        expect(f"`PUBLISHED_{name}`" in told, f"docs/containers.md does not tell PUBLISHED_{name}")
        expect(found[service][port] == str(20000 + i), f"PUBLISHED_{name}: {found[service]}")
        expect(published()[service][port] == port.split("/")[0], f"{service} is not published on {port}")


def check_overrides():
    """Those of docs/containers.md, each as compose.override.yaml."""
    overrides = [text for words, text in doc_blocks.blocks("docs/containers.md") if words == ["yaml"]]
    found = []
    for text in overrides:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(text)
            file.flush()
            found.append(published(file.name)["edge"])
    own = {"80/tcp": "80", "443/tcp": "443"}
    expect(found == [{**own, "9002/tcp": "9002"}, {**own, "9002/tcp": "9002", "25/tcp": "25", "53/udp": "53"}, own],
           f"the overrides publish {found}")


def check_images():
    compose("--profile", "*", "build", secs=1800)
    for service in PRODUCT:
        image = json.loads(run("docker", "image", "inspect", f"{PROJECT}-{service}").stdout)[0]
        print(f"   {service}: {image['Size'] / 1e6:.1f} MB")
        expect(image["Size"] < IMAGE_MAX, f"the image of {service} has {image['Size']} bytes")
        expect(image["Config"]["User"] == "65532:65532", "an image's user is root")


def check_up():
    """One command, and when it returns the documented curl works at the first try."""
    compose("--profile", "demo", "up", "--build", "--wait", secs=1800)
    expect(DOCUMENTED in (ROOT / "docs" / "containers.md").read_text(), "docs/containers.md has another curl")
    seen = json.loads(run(*DOCUMENTED.split()).stdout)
    expect(seen["target"] == "/hello" and seen["client"], f"the origin saw {seen}")


def check_redirect():
    out = run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}",
              "http://app.localhost/x?y=1").stdout
    expect(out == "301 https://app.localhost/x?y=1", f"port 80 answered {out}")


def check_bytes():
    trusted = ROOT / "build" / "compose-check.crt"
    trusted.parent.mkdir(exist_ok=True)
    trusted.write_text(certificate())
    sent = bytes(range(256)) * 40_000
    try:
        done = subprocess.run(
            ["curl", "-sS", "--cacert", trusted, "--max-time", "60", "--data-binary", "@-",
             "-H", "Content-Type: application/octet-stream", "https://app.localhost/echo"],
            input=sent, capture_output=True, check=True)
    finally:
        trusted.unlink()
    expect(hashlib.sha256(done.stdout).digest() == hashlib.sha256(sent).digest(), "10 MB came back changed")


def check_client_address():
    """A client next to the edge, with an address of its own: through the tunnel the origin is told it."""
    seen = inside(f"{PROJECT}_public", "get", "edge", "443", "app.localhost", "/who",
                  "X-Forwarded-For: 192.0.2.66", trusted=certificate())
    origin = json.loads(seen["body"])
    expect(seen["status"] == 200, f"the answer was {seen}")
    expect(origin["client"] == seen["own"], f"the client is {seen['own']}, the origin was told {origin['client']}")
    expect(origin["peer"] == address("traffic", "backend"), f"the origin's peer was {origin['peer']}")


def chart_test(**environment):
    """What `helm test` runs, as it runs it, from a place that reaches the edge and the management APIs;
    (status, output)."""
    name = f"{PROJECT}-chart-test"
    given = [f for key, value in environment.items() for f in ("-e", f"PENSTOCK_{key}={value}")]
    run("docker", "rm", "-f", name, check=False)
    run("docker", "create", "--name", name, "--network", f"{PROJECT}_public", "--user", "65532", "--read-only",
        "--cap-drop", "ALL", *given, "-v", f"{CHART_TEST}:/test/test.sh:ro", "--entrypoint", "/bin/sh",
        f"{PROJECT}-demo", "/test/test.sh")
    try:
        run("docker", "network", "connect", f"{PROJECT}_cluster", name)
        done = run("docker", "start", "--attach", name, check=False)
    finally:
        run("docker", "rm", "-f", name, check=False)
    return done.returncode, done.stdout + done.stderr


def check_chart_test():
    whole = {"READY": " ".join(f"http://{s}:{port}" for s, port in PRODUCT.items()), "HTTP": "edge:80",
             "HTTPS": "edge:443", "SECS": 30}
    for more, lines in (({}, 5), ({"HOST": "app.localhost", "PATH": "/hello", "STATUS": 200}, 6)):
        status, said = chart_test(**whole, **more)
        expect(status == 0 and said.count("ok ") == lines and "FAIL" not in said, f"the chart's test: {status}\n{said}")
    for wrong in ({"HTTP": "edge:443"}, {"HTTPS": "traffic:7999"}, {"READY": "http://hub:9003"},
                  {"READY": "http://hub:9001", "CLIENT_CERTS": "asked"},
                  {"HOST": "app.localhost", "STATUS": 404}, {"HOST": "other.localhost"}):
        status, said = chart_test(**{**whole, **wrong, "SECS": 1})
        expect(status == 1 and said.count("FAIL ") == 1, f"the chart's test with {wrong}: {status}\n{said}")


def check_networks():
    """The origin is reached from traffic's place and from no other."""
    origin = (address("demo", "backend"), "9080")
    place = {name: f"container:{container(name)}" for name in PRODUCT}
    expect(inside(place["traffic"], "reach", *origin)["reached"], "traffic does not reach the origin")
    expect(inside(place["edge"], "reach", "hub", "8443")["reached"], "the edge does not reach the hub")
    for name in ("edge", "hub"):
        for host in (origin[0], "demo"):
            expect(not inside(place[name], "reach", host, origin[1])["reached"], f"{name} reaches {host}")
    for network in ("cluster", "backend"):
        expect(not inside(place["edge"], "reach", address("traffic", network), "8000")["reached"],
               f"the edge reaches traffic in {network}")
    expect(not inside(f"{PROJECT}_public", "reach", address("hub", "tunnel"), "8443")["reached"],
           "the public network reaches the tunnel's port")


def check_management():
    for service, port in PRODUCT.items():
        status, body = api(service, bearer=token(service))
        expect(status == 200 and json.loads(body)["running"] is True, f"{service}: {status} {body}")
        expect(api(service)[0] == 401, f"{service} answers without a token")
        expect(api(service, bearer="A" * 43)[0] == 401, f"{service} answers to another token")
        bound = inspect(service)["NetworkSettings"]["Ports"][f"{port}/tcp"]
        expect([b["HostIp"] for b in bound] == ["127.0.0.1"], f"{service}'s management is published on {bound}")
    edges = json.loads(api("hub", bearer=token("hub"))[1])["connectedEdges"]
    expect([e["listenPorts"] for e in edges] == [[80, 443]], f"the hub's edges are {edges}")


def check_confinement():
    for service in (*PRODUCT, "demo"):
        confined(service)


def confined(service):
    details = inspect(service)
    status = dict(line.split(":\t", 1) for line in
                  pathlib.Path(f"/proc/{details['State']['Pid']}/status").read_text().splitlines() if ":\t" in line)
    expect(set(status["Uid"].split()) == {"65532"}, f"{service} runs as {status['Uid']}")
    expect(int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, f"{service} has capabilities")
    expect(status["NoNewPrivs"].strip() == "1", f"{service} may gain privileges")
    expect(details["HostConfig"]["ReadonlyRootfs"], f"{service} may write to its image")


def check_secrets():
    """What is secret is on the volumes and nowhere else that people look."""
    secrets = {s: token(s) for s in PRODUCT}
    secrets["edge.secret"] = run(
        "docker", "run", "--rm", "--user", "65532", "-v", f"{PROJECT}_edge-secret:/v:ro", "--entrypoint", "cat",
        f"{PROJECT}-demo", "/v/edge.secret").stdout.strip()
    expect(len(set(secrets.values())) == 4 and min(map(len, secrets.values())) >= 43, "a secret is short or shared")
    seen = compose("--profile", "demo", "logs").stdout + compose("config").stdout
    seen += "".join(run("docker", "inspect", container(s)).stdout for s in (*PRODUCT, "demo"))
    for name, secret in secrets.items():
        expect(secret not in seen, f"the secret of {name} is in logs or settings")
        if name != "edge.secret":
            expect(secret not in api(name, "/v1/config", secret)[1], f"{name} shows its token")


def check_traffic_restart():
    compose("restart", "traffic")
    wait_for("the route is in again", lambda: hello("--fail").returncode == 0)


def check_recreate():
    """New containers on the same volumes: the same secrets, and ready when the command returns."""
    before = [token(s) for s in PRODUCT]
    compose("--profile", "demo", "up", "--force-recreate", "--wait")
    expect(json.loads(hello("--fail").stdout)["target"] == "/hello", "no answer from the new containers")
    expect(before == [token(s) for s in PRODUCT], "a token changed")


def prometheus(path, **query):
    """The data of its answer."""
    out = run("curl", "-sS", "--fail", "--max-time", "10",
              f"http://127.0.0.1:9090/api/v1/{path}?{urllib.parse.urlencode(query)}").stdout
    return json.loads(out)["data"]


def targets():
    """service -> what Prometheus says of it."""
    return {t["labels"]["instance"].split(":")[0]: t for t in prometheus("targets", state="active")["activeTargets"]}


def check_monitoring():
    """Every service is a target that answers, one that is gone is seen, and the alerts are evaluated."""
    compose("--profile", "demo", "--profile", "monitoring", "up", "--wait", secs=600)
    wait_for("three targets that are up", lambda: [t["health"] for t in targets().values()] == ["up"] * 3)
    expect(set(targets()) == set(PRODUCT), f"the targets are {targets()}")
    expect({t["labels"]["job"] for t in targets().values()} == {"penstock"}, "another job, which no alert asks for")
    wanted = [r["alert"] for g in yaml.safe_load(ALERTS.read_text())["groups"] for r in g["rules"]]

    def rules():
        return [r for g in prometheus("rules", type="alert")["groups"] for r in g["rules"]]

    wait_for("every alert to be evaluated", lambda: all(r["health"] == "ok" for r in rules()))
    expect([r["name"] for r in rules()] == wanted, f"the alerts are {[r['name'] for r in rules()]}")
    expect(not [r["name"] for r in rules() if r["state"] == "firing"], "an alert fires and nothing is wrong")
    expect(hello("--fail").returncode == 0, "no answer")
    asked = wait_for("the request that came through", lambda: prometheus(
        "query", query="penstock_traffic_requests_total > 0")["result"])
    expect(asked[0]["metric"]["instance"] == "traffic:9103", f"the request is one of {asked}")
    confined("prometheus")
    bound = inspect("prometheus")["NetworkSettings"]["Ports"]["9090/tcp"]
    expect([b["HostIp"] for b in bound] == ["127.0.0.1"], f"Prometheus is published on {bound}")
    for service, port in PRODUCT.items():
        expect(f"{port + 100}/tcp" not in {p for p, b in inspect(service)["NetworkSettings"]["Ports"].items() if b},
               f"the metrics of {service} are published")
    compose("stop", "edge")
    wait_for("the edge that is gone", lambda: targets()["edge"]["health"] == "down")
    expect([targets()[s]["health"] for s in ("hub", "traffic")] == ["up", "up"], "others are gone too")
    waits = wait_for("PenstockDown to wait for its time", lambda: [
        a for a in prometheus("alerts")["alerts"] if a["labels"]["alertname"] == "PenstockDown"])
    expect([a["labels"]["instance"] for a in waits] == ["edge:9102"], f"down are {waits}")
    compose("--profile", "demo", "up", "--wait")
    wait_for("the edge that is back", lambda: targets()["edge"]["health"] == "up")
    compose("--profile", "monitoring", "rm", "-sf", "prometheus")


def check_stop():
    """SIGTERM reaches the first process of each, which ends well by itself."""
    ids = {s: container(s) for s in PRODUCT}
    began = time.monotonic()
    compose("--profile", "demo", "stop")
    expect(time.monotonic() - began < 40, "stopping took as long as killing does")
    for service, name in ids.items():
        status = run("docker", "inspect", "-f", "{{.State.ExitCode}}", name).stdout.strip()
        expect(status == "0", f"{service} ended with {status}")
    compose("--profile", "demo", "down")


def check_direct():
    """traffic alone on 80 and 443, with nothing to trust: the client's address is the connection's."""
    compose("--profile", "direct", "up", "--wait", "traffic-direct")
    running = compose("--profile", "*", "ps", "--services").stdout.split()
    expect(running == ["traffic-direct"], f"beside traffic-direct there are {running}")
    origin = run("docker", "run", "-d", "--rm", "--name", f"{PROJECT}-origin", "--network", f"{PROJECT}_backend",
                 "-v", f"{PROJECT}_traffic-direct:/var/lib/penstock/traffic:ro", "-e", "DEMO_TRAFFIC=traffic-direct",
                 f"{PROJECT}-demo").stdout.strip()
    try:
        wait_for("a page from port 443", lambda: hello("--fail").returncode == 0)
        check_redirect()
        trusted = run("docker", "exec", origin, "cat", "/tmp/app.localhost.crt").stdout
        seen = inside(f"{PROJECT}_public", "get", "traffic-direct", "8000", "app.localhost", "/who", trusted=trusted)
        expect(json.loads(seen["body"])["client"] == seen["own"], f"the client is {seen}")
    finally:
        run("docker", "rm", "-f", origin, check=False)


def check_documents():
    """Every block of the documents that is for compose, pasted as it stands, but for the project's name."""
    compose("--profile", "*", "down")
    documents = doc_blocks.with_blocks("compose")
    expect("docs/quickstart.md" in documents, f"blocks for compose are in {documents} only")
    with tempfile.TemporaryDirectory(prefix="penstock-docs-") as folder:
        (pathlib.Path(folder) / ".curlrc").write_text("fail-with-body\nshow-error\nmax-time = 60\n")
        given = dict(os.environ, CURL_HOME=folder, COMPOSE_FILE=str(ROOT / "compose.yaml"), COMPOSE_PROJECT_NAME=PROJECT)
        for document in documents:
            text = doc_blocks.script(document, "compose")
            text = text.replace("penstock_", f"{PROJECT}_").replace("penstock-demo", f"{PROJECT}-demo")
            print(f"   {document}", flush=True)
            try:
                done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=folder, env=given, text=True,
                                      capture_output=True, timeout=1800, check=False)
            finally:
                run("docker", "rm", "-f", "shop", check=False)
            expect(done.returncode == 0, f"{document}: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
            compose("--profile", "*", "down")


CHECKS = [check_configuration, check_overrides, check_images, check_up, check_redirect, check_bytes, check_client_address,
          check_chart_test, check_networks, check_management, check_confinement, check_secrets, check_traffic_restart,
          check_recreate, check_monitoring, check_stop, check_direct, check_documents]


def take_down():
    for name in ("origin", "chart-test"):
        run("docker", "rm", "-f", f"{PROJECT}-{name}", check=False)
    compose("--profile", "*", "down", "-v", "--rmi", "local", "--remove-orphans", "-t", "10", check=False)


def main(arguments):
    keep = "--keep" in arguments
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what runs is taken down
    take_down()
    try:
        for check in CHECKS:
            began = time.monotonic()
            check()
            print(f"ok {check.__name__.removeprefix('check_')} ({time.monotonic() - began:.1f} s)", flush=True)
    except (AssertionError, subprocess.SubprocessError, OSError, ValueError, KeyError, IndexError):
        traceback.print_exc()
        print(compose("--profile", "*", "ps", "-a", check=False).stdout, file=sys.stderr)
        print(compose("--profile", "*", "logs", "--tail", "60", check=False).stdout, file=sys.stderr)
        return 1
    finally:
        if not keep:
            take_down()
    print("compose: all well")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
