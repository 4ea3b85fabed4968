#!/usr/bin/env python3
"""helm/penstock with each ci/*-values.yaml: linted, rendered, checked against Kubernetes' types and the
restricted pod security standard; the services' own programs check the configurations that it renders,
with every file that they name coming from a mount; made secrets are kept; bad values are refused.

usage: tests/chart/run.py --validate COMMAND [--bin DIR]
COMMAND reads manifests on standard input and fails with the faults; helm is looked for in PATH.
"""
import argparse
import base64
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "helm" / "penstock"
CI = sorted(CHART.glob("ci/*-values.yaml"))
SAFE_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start"}  # of the safe ones, what is used here
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}

# values that must be refused, and what the message must name
REFUSED = [
    ({"hub": {"servce": {}}}, "servce"),
    ({"edge": {"listenPorts": [70000]}}, "listenPorts"),
    ({"edge": {"listenPorts": []}}, "listenPorts"),
    ({"edge": {"id": "a b"}}, "/edge/id"),
    ({"hub": {"config": {"edges": []}}}, "/hub/config"),
    ({"hub": {"edges": [{"id": "x", "listenPorts": [1], "secret": "never here"}]}}, "secret"),
    ({"hub": {"edges": [{"id": "edge", "listenPorts": [1]}]}}, "two edges are called edge"),
    ({"hub": {"enabled": False}}, "secrets.edges.existingSecret is needed"),
    ({"hub": {"enabled": False}, "secrets": {"edges": {"existingSecret": "s"}}}, "edge.hub.host is needed"),
    ({"traffic": {"enabled": False}}, "hub.target.host is needed"),
    ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ({"replicas": 2}, "replicas"),
]


def run(*command, given=None, check=True):
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def render(*arguments):
    return run("helm", "template", "r", CHART, "--namespace", "web", *arguments).stdout


def of_kind(objects, kind):
    return [o for o in objects if o["kind"] == kind]


def check_restricted(pod):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, restricted."""
    context = pod["securityContext"]
    for field in ("hostNetwork", "hostPID", "hostIPC", "hostUsers"):
        expect(not pod.get(field), f"{field} is set")
    expect(context["runAsNonRoot"] is True and context["runAsUser"] != 0, "a pod may run as root")
    expect(context["seccompProfile"]["type"] == "RuntimeDefault", "no seccomp profile")
    expect({s["name"] for s in context.get("sysctls", [])} <= SAFE_SYSCTLS, "an unsafe sysctl")
    for volume in pod["volumes"]:
        expect(set(volume) - {"name"} <= VOLUMES, f"volume {volume}")
    for container in pod["containers"] + pod.get("initContainers", []):
        own = container["securityContext"]
        expect(own["allowPrivilegeEscalation"] is False and not own.get("privileged"), "privileges")
        expect(own["capabilities"] == {"drop": ["ALL"]}, "capabilities")
        expect(own["readOnlyRootFilesystem"] is True, "a writable image")
        expect(not any("hostPort" in p for p in container["ports"]), "a host port")
    expect(pod["enableServiceLinks"] is False and pod["automountServiceAccountToken"] is False, "links or token")


def mounted_files(pod, objects):
    """path -> content of what the Secrets, known or not, and ConfigMaps put into the pod."""
    maps = {o["metadata"]["name"]: o["data"] for o in of_kind(objects, "ConfigMap")}
    made = {o["metadata"]["name"]: o["data"] for o in of_kind(objects, "Secret")}
    places = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
    expect(set(places) == {v["name"] for v in pod["volumes"]}, "volumes and mounts differ")
    files = {}
    for volume in pod["volumes"]:
        base = places[volume["name"]]
        if "configMap" in volume:
            files.update({f"{base}/{k}": v for k, v in maps[volume["configMap"]["name"]].items()})
        for source in volume.get("projected", {}).get("sources", []) + [volume]:
            if "secret" not in source:
                continue
            name = source["secret"].get("name") or source["secret"]["secretName"]
            for item in source["secret"]["items"]:
                expect(name not in made or item["key"] in made[name], f"{name} has no {item['key']}")
                path = f"{base}/{item['path']}"
                files[path] = '{"routes": []}' if path.endswith(".json") else "A" * 43
    return files


def check_configuration(deployment, objects, programs):
    """The service itself says whether it would start with this."""
    pod = deployment["spec"]["template"]["spec"]
    name = pod["containers"][0]["name"]
    files = mounted_files(pod, objects)
    with tempfile.TemporaryDirectory() as folder:
        for path, content in files.items():
            at = pathlib.Path(folder + path)
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_text(content.replace('"/etc/penstock/', f'"{folder}/etc/penstock/'))
        flag, config = pod["containers"][0]["args"]
        run(programs / f"penstock-{name}", flag, folder + config, "--check")
        for line in files[config].splitlines():
            if "File\":" in line:
                path = line.split('"')[3]
                expect(path in files, f"{name}: nothing is mounted at {path}")


def check_services(objects):
    pods = [d["spec"]["template"] for d in of_kind(objects, "Deployment")]
    for service in of_kind(objects, "Service"):
        chosen = [p for p in pods if service["spec"]["selector"].items() <= p["metadata"]["labels"].items()]
        expect(len(chosen) == 1, f"Service {service['metadata']['name']} chooses {len(chosen)} Deployments")
        names = {p["name"] for p in chosen[0]["spec"]["containers"][0]["ports"]}
        expect({p["targetPort"] for p in service["spec"]["ports"]} <= names, "a Service leads to no port")
        expect("management" not in [p["targetPort"] for p in service["spec"]["ports"]]
               or service["spec"]["type"] == "ClusterIP", "a management API is public")


def check_values(path, options):
    run("helm", "lint", "--strict", CHART, "--values", path)
    text = render("--values", path)
    print(run(options.validate, given=text).stdout.splitlines()[-1], end=", ")
    objects = [o for o in yaml.safe_load_all(text) if o]
    deployments = of_kind(objects, "Deployment")
    expect(deployments, "no Deployment")
    for deployment in deployments:
        check_restricted(deployment["spec"]["template"]["spec"])
        check_configuration(deployment, objects, options.bin)
    check_services(objects)
    values = [base64.b64decode(v).decode() for s in of_kind(objects, "Secret") for v in s["data"].values()]
    expect(len(set(values)) == len(values) and all(len(v) == 43 and v.isalnum() for v in values), "a weak secret")
    print(f"{len(deployments)} configurations accepted")


def check_refused():
    for values, named in REFUSED:
        done = subprocess.run(["helm", "template", "r", CHART, "--values", "-"], input=yaml.safe_dump(values),
                              capture_output=True, text=True, check=False)
        expect(done.returncode != 0, f"{values} is taken")
        expect(named in done.stderr, f"{values}: {done.stderr}")


class Cluster(http.server.BaseHTTPRequestHandler):
    """As much of the Kubernetes API as `lookup` asks for: one Secret, with one of the two keys in it."""
    kept = {"fra-1": base64.b64encode(b"kept").decode()}

    @staticmethod
    def resources(version, *kinds):
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": [
            {"name": f"{k.lower()}s", "namespaced": True, "kind": k, "verbs": ["get"]} for k in kinds]}

    def do_GET(self):
        known = {
            "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [
                {"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}]}]},
            "/api/v1": self.resources("v1", "Secret", "ConfigMap", "Service", "PersistentVolumeClaim"),
            "/apis/apps/v1": self.resources("apps/v1", "Deployment"),
            "/api/v1/namespaces/web/secrets/r-penstock-edges": {
                "apiVersion": "v1", "kind": "Secret", "data": self.kept,
                "metadata": {"name": "r-penstock-edges", "namespace": "web",
                             "labels": {"app.kubernetes.io/managed-by": "Helm"},
                             "annotations": {"meta.helm.sh/release-name": "r",
                                             "meta.helm.sh/release-namespace": "web"}}},
        }
        found = known.get(self.path.split("?")[0])
        body = json.dumps(found or {"kind": "Status", "apiVersion": "v1", "status": "Failure",
                                    "reason": "NotFound", "code": 404}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def check_kept():
    """An upgrade keeps what the cluster has, and makes what is new."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cluster) as server, tempfile.TemporaryDirectory() as home:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        os.environ["HOME"] = home  # its cache of what a cluster can
        text = render("--dry-run=server", "--kube-apiserver", f"http://127.0.0.1:{server.server_port}",
                      "--disable-openapi-validation", "--set-json", 'hub.edges=[{"id":"fra-1","listenPorts":[25]}]')
        server.shutdown()
    made = {o["metadata"]["name"]: o["data"] for o in of_kind([o for o in yaml.safe_load_all(text) if o], "Secret")}
    expect(made["r-penstock-edges"]["fra-1"] == Cluster.kept["fra-1"], "a secret was made anew")
    expect(len(base64.b64decode(made["r-penstock-edges"]["edge"])) == 43, "the new edge got no secret")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--validate", required=True)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build" / "release" / "bin")
    options = parser.parse_args()
    options.bin = options.bin.resolve()
    run("helm", "lint", "--strict", CHART)
    for path in CI:
        print(f"{path.name.removesuffix('-values.yaml')}: ", end="", flush=True)
        check_values(path, options)
    check_refused()
    check_kept()
    print("chart: all well")


if __name__ == "__main__":
    sys.exit(main())
