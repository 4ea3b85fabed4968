#!/usr/bin/env python3
"""What the chart renders, run: each pod as a container with the user, the rights and the mounts of its
manifest, each Service as a name, the kubelet's probes and its way to change a Secret; then the pod of
`helm test`, as it is.  Not a cluster: no scheduler, no Service with ports of its own, no NetworkPolicy.

Needs helm in PATH, a container engine, curl, openssl, root (files get the owner that the kubelet gives), and
ports 80, 443, 9002 and 9102 of this machine.
                                                             usage: tests/chart/containers.py
"""
import base64
import json
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "helm" / "penstock"
NAME = "penstock-chart-check"
HOSTS = ("app.example.com", "other.example.com")
GROUP = 65532
SECS = 60


def run(*command, check=True, secs=600, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=secs, cwd=ROOT, check=False, **options)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))[:400]}: exit {done.returncode}\n"
                             f"{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def wait_for(what, condition, secs=SECS):
    end = time.monotonic() + secs
    while not (value := condition()):
        expect(time.monotonic() < end, f"not within {secs} s: {what}")
        time.sleep(0.2)
    return value


def certificate(folder, *names):
    """(chain, key) as PEM."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
        "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-subj", f"/CN={names[0]}",
        "-addext", "subjectAltName=" + ",".join(f"DNS:{n}" for n in names))
    return (folder / "cert.pem").read_text(), (folder / "key.pem").read_text()


class Release:
    """One rendering as containers."""

    def __init__(self, folder, secret_data, *arguments):
        self.folder = pathlib.Path(folder)
        self.secret_data = dict(secret_data)  # Secrets that exist: name -> key -> text
        text = run("helm", "template", "r", CHART, "--namespace", "web", *arguments).stdout
        self.objects = [o for o in yaml.safe_load_all(text) if o]
        self.containers = {}

    def of_kind(self, *kinds):
        return [o for o in self.objects if o["kind"] in kinds]

    # --- volumes

    def secret(self, name):
        for o in self.of_kind("Secret"):
            if o["metadata"]["name"] == name:
                return {k: base64.b64decode(v).decode() for k, v in o["data"].items()}
        return self.secret_data[name]

    def write(self, at, text, mode):
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text)
        at.chmod(mode)
        os.chown(at, 0, GROUP)

    def fill(self, place, volume):
        """As the kubelet does: files in a folder of their version, links to them that one rename changes."""
        version = place / f"..{secrets.token_hex(4)}"
        sources = volume.get("projected", {}).get("sources") or [volume]
        mode = volume.get("projected", volume.get("secret", {})).get("defaultMode", 0o644)
        for source in sources:
            if "configMap" in source:
                [found] = [o for o in self.of_kind("ConfigMap") if o["metadata"]["name"] == source["configMap"]["name"]]
                items = {key: (key, text) for key, text in found["data"].items()}
            else:
                own = source["secret"]
                data = self.secret(own.get("name") or own["secretName"])
                items = {i["key"]: (i["path"], data[i["key"]]) for i in own["items"]}
            for path, text in items.values():
                self.write(version / path, text, mode)
        for folder in (version, *(p for p in version.rglob("*") if p.is_dir())):
            folder.chmod(0o755)
        link = place / "..data_tmp"
        link.symlink_to(version.name)
        os.rename(link, place / "..data")
        for top in {p.relative_to(version).parts[0] for p in version.rglob("*")}:
            if not (place / top).is_symlink():
                (place / top).symlink_to(f"..data/{top}")

    def mounts(self, pod_name, pod):
        options = []
        volumes = {v["name"]: v for v in pod["volumes"]}
        for mount in pod["containers"][0]["volumeMounts"]:
            volume = volumes[mount["name"]]
            place = self.folder / pod_name / mount["name"]
            place.mkdir(parents=True)
            if "emptyDir" in volume or "persistentVolumeClaim" in volume:
                os.chown(place, 0, GROUP)
                place.chmod(0o2777)
                options += ["-v", f"{place}:{mount['mountPath']}"]
                continue
            place.chmod(0o755)
            self.fill(place, volume)
            options += ["-v", f"{place}:{mount['mountPath']}:ro"]
        return options

    # --- pods

    def start(self, pod_name, labels, pod, image):
        context, [container] = pod["securityContext"], pod["containers"]
        own = container["securityContext"]
        options = ["--user", f"{context['runAsUser']}:{context['runAsGroup']}"]
        if context.get("fsGroup"):
            options += ["--group-add", str(context["fsGroup"])]
        for what in ("drop", "add"):
            options += [o for name in own["capabilities"].get(what, []) for o in (f"--cap-{what}", name)]
        expect(own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"], f"rights of {pod_name}")
        options += ["--read-only", "--security-opt", "no-new-privileges:true"]
        for sysctl in context.get("sysctls", []):
            options += ["--sysctl", f"{sysctl['name']}={sysctl['value']}"]
        options += self.network_of(labels, pod)
        for variable in container.get("env", []):
            options += ["-e", f"{variable['name']}={variable['value']}"]
        command = container.get("command", [])
        if command:
            options += ["--entrypoint", command[0]]
        name = f"{NAME}-{pod_name}"
        run("docker", "run", "-d", "--name", name, *options, *self.mounts(pod_name, pod), image, *command[1:],
            *container.get("args", []))
        self.containers[pod_name] = (name, container)
        return name

    def network_of(self, labels, pod):
        """The names of the Services that choose the pod; on the machine's own network there are none, and the
        others are told to it."""
        names = [s["metadata"]["name"] for s in self.of_kind("Service") if s["spec"]["selector"].items() <= labels.items()]
        if pod.get("hostNetwork"):
            known = {"r-penstock-hub": address(f"{NAME}-r-penstock-hub-0")}
            return ["--network", "host", *(f"--add-host={name}:{at}" for name, at in known.items())]
        options = ["--network", NAME, *(f"--network-alias={name}" for name in names)]
        if self.of_kind("DaemonSet"):
            gateway = run("docker", "network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", NAME).stdout.strip()
            options.append(f"--add-host=r-penstock-edge:{gateway}")
        return options

    def start_all(self):
        order = {"hub": 0, "traffic": 1, "edge": 2}
        for o in sorted(self.of_kind("Deployment", "DaemonSet"), key=lambda o: order[o["spec"]["template"]["spec"]["containers"][0]["name"]]):
            template = o["spec"]["template"]
            service = template["spec"]["containers"][0]["name"]
            for i in range(o["spec"].get("replicas", 1)):
                self.start(f"{o['metadata']['name']}-{i}", template["metadata"]["labels"], template["spec"], f"{NAME}-{service}")
        for pod_name in self.containers:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                wait_for(f"the {probe} of {pod_name}", lambda p=pod_name, q=probe: self.probe(p, q))

    def probe(self, pod_name, which):
        """As the kubelet asks: the pod's address, no Host of its own, any certificate."""
        name, container = self.containers[pod_name]
        get = container[which]["httpGet"]
        [port] = [p["containerPort"] for p in container["ports"] if p["name"] == get["port"]]
        url = f"{get.get('scheme', 'HTTP').lower()}://{get.get('host') or address(name)}:{port}{get['path']}"
        return run("curl", "-skf", "-o", "/dev/null", "--max-time", "3", url, check=False).returncode == 0

    def helm_test(self):
        """(status, output) of the hook's pod."""
        [pod] = self.of_kind("Pod")
        run("docker", "rm", "-f", f"{NAME}-test", check=False)
        shutil.rmtree(self.folder / "test", ignore_errors=True)
        name = self.start("test", pod["metadata"]["labels"], pod["spec"], f"{NAME}-demo")
        del self.containers["test"]
        status = run("docker", "wait", name, secs=SECS + 60).stdout.strip()
        logs = run("docker", "logs", name)
        return int(status), logs.stdout + logs.stderr

    def put_secret(self, name, data):
        """A changed Secret, in every pod that mounts it."""
        self.secret_data[name] = data
        for o in self.of_kind("Deployment", "DaemonSet"):
            for volume in o["spec"]["template"]["spec"]["volumes"]:
                if volume.get("secret", {}).get("secretName") == name:
                    for i in range(o["spec"].get("replicas", 1)):
                        self.fill(self.folder / f"{o['metadata']['name']}-{i}" / volume["name"], volume)


def address(name):
    return run("docker", "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name).stdout.strip()


def check_default(folder):
    """As it comes, without a route."""
    release = Release(folder, {}, "--set", f"tests.secs={SECS}")
    release.start_all()
    status, said = release.helm_test()
    expect(status == 0 and said.count("ok ") == 5 and "FAIL" not in said, f"helm test: {status}\n{said}")


def check_daemonset(folder):
    """The edge on this machine's own network, as root with one capability."""
    release = Release(folder, {}, "--set", f"edge.kind=DaemonSet,metrics.enabled=true,tests.secs={SECS}")
    release.start_all()
    status, said = release.helm_test()
    expect(status == 0 and said.count("ok ") == 4 and "FAIL" not in said, f"helm test: {status}\n{said}")
    pid = run("docker", "inspect", "-f", "{{.State.Pid}}", f"{NAME}-r-penstock-edge-0").stdout.strip()
    expect("CapEff:\t0000000000000400" in pathlib.Path(f"/proc/{pid}/status").read_text(), "more than NET_BIND_SERVICE")
    for port, at in ((9101, address(f"{NAME}-r-penstock-hub-0")), (9102, "127.0.0.1"),
                     (9103, address(f"{NAME}-r-penstock-traffic-0"))):
        expect("penstock_build_info" in run("curl", "-sf", f"http://{at}:{port}/metrics").stdout, f"no metrics at {port}")


def check_prepared_secrets(folder):
    """Every Secret prepared, management APIs that ask for certificates, two replicas that follow the routes' Secret."""
    chain, key = certificate(folder, *HOSTS)
    origin = f"{NAME}-origin"
    run("docker", "run", "-d", "--name", origin, "--network", NAME, "--entrypoint", "python3", f"{NAME}-demo", "-u",
        "/demo/origin.py", "--host", "0.0.0.0", "--port", "9080")

    def routes(*hosts):
        return {"routes.json": json.dumps({"routes": [
            {"hostName": h, "destinationIps": [address(origin)], "destinationPorts": [9080], "publicKey": chain,
             "privateKey": key} for h in hosts]})}

    def token():
        return secrets.token_urlsafe(32)

    tls = {"tls.crt": chain, "tls.key": key}
    (folder / "client").mkdir()
    client_ca = {"ca.crt": certificate(folder / "client", "client")[0]}  # one that has signed itself
    shown = ["--cert", folder / "client" / "cert.pem", "--key", folder / "client" / "key.pem"]
    known = {"pst-edges": {"edge": token()}, "pst-tokens": {s: token() for s in ("hub", "edge", "traffic")},
             "pst-management-tls": tls, "pst-client-ca": client_ca, "pst-tunnel-tls": tls,
             "pst-store-key": {"store.key": token()}, "pst-routes": routes(HOSTS[0])}
    release = Release(folder / "pods", known, "--values", CHART / "ci" / "existing-secrets-values.yaml",
                      "--set", f"tests.enabled=true,tests.host={HOSTS[0]},tests.path=/hello,tests.secs={SECS}",
                      "--set-string", "tests.status=200", "--set", "traffic.replicaCount=2",
                      "--set", "secrets.managementClientCa.existingSecret=pst-client-ca")
    release.start_all()
    status, said = release.helm_test()
    expect(status == 0 and said.count("ok ") == 9 and "FAIL" not in said, f"helm test: {status}\n{said}")
    expect(said.count("asks for a certificate") == 3, f"helm test: {said}")

    release.put_secret("pst-routes", routes(HOSTS[1]))
    token_of = known["pst-tokens"]["traffic"]
    for i in range(2):
        at = address(f"{NAME}-r-penstock-traffic-{i}")
        wait_for(f"replica {i} has the new routes", lambda a=at: f'"{HOSTS[1]}"' in run(
            "curl", "-sk", *shown, "--max-time", "3", "-H", f"Authorization: Bearer {token_of}",
            f"https://{a}:9003/v1/routes", check=False).stdout)
    everything = "".join(run("docker", "logs", name).stderr + run("docker", "logs", name).stdout
                         for name, _ in release.containers.values())
    for name in ("pst-edges", "pst-tokens", "pst-store-key"):
        for secret in known[name].values():
            expect(secret not in everything, f"a secret of {name} is in the logs")


CHECKS = [check_default, check_daemonset, check_prepared_secrets]


def ours(*what):
    return run("docker", *what, "-aq", "--filter", f"name=^{NAME}-").stdout.split()


def take_down():
    if found := ours("ps"):
        run("docker", "rm", "-f", *found, check=False)
    run("docker", "network", "rm", NAME, check=False)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what runs is taken down
    take_down()
    try:
        for target in ("hub", "edge", "traffic", "demo"):
            run("docker", "build", "-q", "--target", target, "-t", f"{NAME}-{target}", ".", secs=1800)
        for check in CHECKS:
            began = time.monotonic()
            run("docker", "network", "create", NAME)
            with tempfile.TemporaryDirectory() as folder:
                os.chmod(folder, 0o755)
                check(pathlib.Path(folder))
            take_down()
            print(f"ok {check.__name__.removeprefix('check_')} ({time.monotonic() - began:.1f} s)", flush=True)
    except (AssertionError, subprocess.SubprocessError, OSError, ValueError, KeyError):
        traceback.print_exc()
        for container in ours("ps"):
            done = run("docker", "logs", "--tail", "40", container, check=False)
            print(f"--- {container}\n{done.stdout}{done.stderr}", file=sys.stderr)
        return 1
    finally:
        take_down()
        for target in ("hub", "edge", "traffic", "demo"):
            run("docker", "rmi", f"{NAME}-{target}", check=False)
    print("chart in containers: all well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
