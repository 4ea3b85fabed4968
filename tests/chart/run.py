#!/usr/bin/env python3
"""helm/penstock with each ci/*-values.yaml: linted, rendered, checked against Kubernetes' types and the
restricted pod security standard; the same as in golden/, but for what is random; the services' own programs
check the configurations that it renders, with every file that they name coming from a mount; made secrets
are kept; bad values are refused.

usage: tests/chart/run.py --validate COMMAND [--bin DIR]     all of it
       tests/chart/run.py --golden                           makes golden/ anew: look at the difference
COMMAND reads manifests on standard input and fails with the faults; helm is looked for in PATH.
"""
import argparse
import base64
import difflib
import hashlib
import http.server
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import doc_blocks  # noqa: E402

CHART = ROOT / "helm" / "penstock"
CI = sorted(CHART.glob("ci/*-values.yaml"))
GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"
DIFFERENCE_LINES = 80
SAFE_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start"}  # of the safe ones, what is used here
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}

# values that must be refused, and what the message must name
REFUSED = [
    ({"hub": {"servce": {}}}, "servce"),
    ({"edge": {"listenPorts": [70000]}}, "listenPorts"),
    ({"edge": {"listenPorts": []}}, "listenPorts"),
    ({"edge": {"id": "a b"}}, "/edge/id"),
    ({"edge": {"kind": "StatefulSet"}}, "/edge/kind"),
    ({"hub": {"config": {"edges": []}}}, "/hub/config"),
    ({"hub": {"edges": [{"id": "x", "listenPorts": [1], "secret": "never here"}]}}, "secret"),
    ({"hub": {"edges": [{"id": "edge", "listenPorts": [1]}]}}, "two edges are called edge"),
    ({"hub": {"enabled": False}}, "secrets.edges.existingSecret is needed"),
    ({"hub": {"enabled": False}, "secrets": {"edges": {"existingSecret": "s"}}}, "edge.hub.host is needed"),
    ({"traffic": {"enabled": False}}, "hub.target.host is needed"),
    ({s: {"enabled": False} for s in ("hub", "edge", "traffic")}, "nothing is enabled"),
    ({"edge": {"token": {"existingSecret": "t"}}}, "edge.token.existingSecret is for an edge whose hub is elsewhere"),
    ({"edge": {"kind": "DaemonSet", "service": {"type": "LoadBalancer"}}}, "a DaemonSet has the nodes' addresses"),
    ({"edge": {"listenPortsUdp": [53]}}, "UDP port 53 leads nowhere"),
    ({"traffic": {"replicaCount": 2}}, "several replicas of traffic share no routes"),
    ({"traffic": {"autoscaling": {"enabled": True}}}, "several replicas of traffic share no routes"),
    ({"traffic": {"autoscaling": {"minReplicas": 11}}}, "minReplicas is above maxReplicas"),
    ({"traffic": {"autoscaling": {"enabled": True, "targetCPUUtilizationPercentage": 0},
                  "routes": {"existingSecret": "r"}}}, "both targets are 0"),
    ({"secrets": {"managementClientCa": {"existingSecret": "ca"}}},
     "secrets.managementClientCa.existingSecret needs secrets.managementTls.existingSecret"),
    ({"secrets": {"managementClientCa": {"existingConfigMap": "ca"}}}, "existingConfigMap"),
    ({"metrics": {"serviceMonitor": {"enabled": True}}}, "metrics.serviceMonitor.enabled needs metrics.enabled"),
    ({"metrics": {"prometheusRule": {"enabled": True}}}, "metrics.prometheusRule.enabled needs metrics.enabled"),
    ({"podSecurityContext": {"runAsUser": 0}}, "/podSecurityContext/runAsUser"),
    ({"metrics": {"prometheusRule": {"disabled": ["Other"]}}}, "/metrics/prometheusRule/disabled"),
    ({"tests": {"path": "x"}}, "/tests/path"),
    ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ({"replicas": 2}, "replicas"),
]


def run(*command, given=None, check=True, env=None):
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300, check=False, env=env)
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


def pod_specs(objects):
    """(name, spec) of every pod that comes to be."""
    for o in objects:
        if o["kind"] == "Pod":
            yield o["metadata"]["name"], o["spec"]
        elif o["kind"] in ("Deployment", "DaemonSet"):
            yield o["metadata"]["name"], o["spec"]["template"]["spec"]


def check_on_host(pod):
    """The one pod that is more than restricted has what it needs for the node's ports and nothing else."""
    expect(pod["hostNetwork"] is True and not pod.get("hostPID") and not pod.get("hostIPC"), "namespaces of the node")
    expect(pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", "no seccomp profile")
    expect({next(iter(set(v) - {"name"})) for v in pod["volumes"]} <= VOLUMES, "a volume of the node")
    [container] = pod["containers"]
    own = container["securityContext"]
    expect(own["allowPrivilegeEscalation"] is False and not own.get("privileged"), "privileges")
    expect(own["capabilities"] == {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}, "capabilities")
    expect(own["readOnlyRootFilesystem"] is True, "a writable image")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        expect(container[probe]["httpGet"]["host"] == "127.0.0.1", f"the {probe} is not the node's own")
    expect(pod["enableServiceLinks"] is False and pod["automountServiceAccountToken"] is False, "links or token")


def check_restricted(pod):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, restricted."""
    context = pod["securityContext"]
    for field in ("hostNetwork", "hostPID", "hostIPC", "hostUsers"):
        expect(not pod.get(field), f"{field} is set")
    expect(context["runAsNonRoot"] is True and context.get("runAsUser") != 0, "a pod may run as root")
    expect(context["seccompProfile"]["type"] == "RuntimeDefault", "no seccomp profile")
    expect({s["name"] for s in context.get("sysctls", [])} <= SAFE_SYSCTLS, "an unsafe sysctl")
    for volume in pod["volumes"]:
        expect(set(volume) - {"name"} <= VOLUMES, f"volume {volume}")
    for container in pod["containers"] + pod.get("initContainers", []):
        own = container["securityContext"]
        expect(own["allowPrivilegeEscalation"] is False and not own.get("privileged"), "privileges")
        expect(own["capabilities"] == {"drop": ["ALL"]}, "capabilities")
        expect(own["readOnlyRootFilesystem"] is True, "a writable image")
        expect(not any("hostPort" in p for p in container.get("ports", [])), "a host port")
    expect(pod["enableServiceLinks"] is False and pod["automountServiceAccountToken"] is False, "links or token")


def sample(path):
    """What a prepared Secret would have there."""
    if path.endswith(".json"):
        return '{"routes": []}'
    if path.endswith("/token"):
        fields = {"hubHost": "hub.example.com", "hubPort": 443, "edgeId": "fra-2", "secret": "A" * 43}
        return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")
    return "A" * 43


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
                files[path] = sample(path)
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
        # a variable of the tests is no key of the program's
        run(programs / f"penstock-{name}", flag, folder + config, "--check",
            env={k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")})
        for line in files[config].splitlines():
            if "File\":" in line:
                path = line.split('"')[3]
                expect(path in files, f"{name}: nothing is mounted at {path}")


def check_services(objects):
    pods = [o["spec"]["template"] for o in workloads(objects)]
    for service in of_kind(objects, "Service"):
        chosen = [p for p in pods if service["spec"]["selector"].items() <= p["metadata"]["labels"].items()]
        expect(len(chosen) == 1, f"Service {service['metadata']['name']} chooses {len(chosen)} workloads")
        names = {p["name"] for p in chosen[0]["spec"]["containers"][0]["ports"]}
        expect({p["targetPort"] for p in service["spec"]["ports"]} <= names, "a Service leads to no port")
        expect("management" not in [p["targetPort"] for p in service["spec"]["ports"]]
               or service["spec"]["type"] == "ClusterIP", "a management API is public")


def check_policies(objects):
    """Whatever a Service leads to is let in by the policy of its pods; the management APIs' peers are named."""
    policies = of_kind(objects, "NetworkPolicy")
    for service in of_kind(objects, "Service"):
        selector = service["spec"]["selector"]
        [pod] = [o["spec"]["template"] for o in workloads(objects)
                 if selector.items() <= o["spec"]["template"]["metadata"]["labels"].items()]
        if pod["spec"].get("hostNetwork"):
            continue
        [policy] = [p["spec"] for p in policies if p["spec"]["podSelector"]["matchLabels"] == selector]
        numbers = {p["name"]: (p["containerPort"], p["protocol"]) for p in pod["spec"]["containers"][0]["ports"]}
        for port in service["spec"]["ports"]:
            rules = [r for r in policy["ingress"]
                     if numbers[port["targetPort"]] in [(p["port"], p["protocol"]) for p in r["ports"]]]
            expect(len(rules) == 1, f"{len(rules)} rules for {port['targetPort']} of {service['metadata']['name']}")
            if port["targetPort"] == "management":
                expect({"podSelector": {}} in rules[0]["from"], "the namespace does not reach the management API")
            if service["spec"]["type"] != "ClusterIP":
                expect("from" not in rules[0], f"{service['metadata']['name']} is public and its pods are closed")
    management = [r for p in policies for r in p["spec"]["ingress"] if r["ports"][0]["port"] in (9001, 9002, 9003)]
    expect(len(management) == len(policies) and all(r["from"] for r in management), "a management API is open")


def check_monitoring(objects):
    for monitor in of_kind(objects, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        chosen = [s for s in of_kind(objects, "Service") if wanted.items() <= s["metadata"]["labels"].items()]
        expect(len(chosen) == len(workloads(objects)), f"the ServiceMonitor chooses {len(chosen)} Services")
        expect(all([p["name"] for p in s["spec"]["ports"]] == ["metrics"] for s in chosen), "other ports are scraped")
    for rule in of_kind(objects, "PrometheusRule"):
        files = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
        expect([g["name"] for g in files["groups"]] == [g["name"] for g in rule["spec"]["groups"]], "groups of alerts")
        left = [r["alert"] for g in files["groups"] for r in g["rules"]]
        given = [r["alert"] for g in rule["spec"]["groups"] for r in g["rules"]]
        expect(set(left) - set(given) == {"PenstockEdgeOnTls"}, f"not given: {set(left) - set(given)}")
    for dashboard in of_kind(objects, "ConfigMap"):
        if "penstock.json" in dashboard["data"]:
            expect(json.loads(dashboard["data"]["penstock.json"])["uid"] == "penstock", "another dashboard")


def workloads(objects):
    return [o for o in objects if o["kind"] in ("Deployment", "DaemonSet")]


def without_chance(text):
    """What is random (made secrets) or has a file of its own in the chart (the dashboard) is left out."""
    text = re.sub(r"^(  [\w.-]+): [A-Za-z0-9+/]{58}==$", r"\1: RANDOM", text, flags=re.M)
    return re.sub(r"^(  penstock.json): (.*)$", lambda m: f"{m[1]}: sha256 {hashlib.sha256(m[2].encode()).hexdigest()}",
                  text, flags=re.M)


def golden_of(path):
    return GOLDEN / f"{path.name.removesuffix('-values.yaml')}.yaml"


def check_golden(path, text):
    at = golden_of(path)
    expect(at.exists(), f"there is no {at}: tests/chart/run.py --golden makes it")
    difference = list(difflib.unified_diff(at.read_text().splitlines(), without_chance(text).splitlines(),
                                           str(at.relative_to(ROOT)), "rendered", lineterm="", n=6))
    shown = "\n".join(difference[:DIFFERENCE_LINES])
    expect(not difference, f"{path.name} renders otherwise ({len(difference)} lines of difference; "
                           f"if it is meant so: tests/chart/run.py --golden)\n{shown}")


def make_golden():
    made = {golden_of(path): without_chance(render("--values", path)) for path in CI}  # all, or none is touched
    GOLDEN.mkdir(exist_ok=True)
    for old in set(GOLDEN.glob("*.yaml")) - set(made):
        old.unlink()
    for path, text in made.items():
        path.write_text(text)
    print(f"{len(CI)} files made in {GOLDEN.relative_to(ROOT)}")


def check_values(path, options):
    run("helm", "lint", "--strict", CHART, "--values", path)
    text = render("--values", path)
    print(run(options.validate, given=text).stdout.splitlines()[-1], end=", ")
    objects = [o for o in yaml.safe_load_all(text) if o]
    expect(workloads(objects), "nothing that runs")
    for name, pod in pod_specs(objects):
        if pod.get("hostNetwork"):
            expect(path.name == "daemonset-values.yaml", f"{name} is on the node's network")
            check_on_host(pod)
        else:
            check_restricted(pod)
    for workload in workloads(objects):
        check_configuration(workload, objects, options.bin)
    check_services(objects)
    if of_kind(objects, "NetworkPolicy"):
        check_policies(objects)
    check_monitoring(objects)
    values = [base64.b64decode(v).decode() for s in of_kind(objects, "Secret") for v in s["data"].values()]
    expect(len(set(values)) == len(values) and all(len(v) == 43 and v.isalnum() for v in values), "a weak secret")
    check_golden(path, text)
    print(f"{len(workloads(objects))} configurations accepted")


def check_refused():
    for values, named in REFUSED:
        done = subprocess.run(["helm", "template", "r", CHART, "--values", "-"], input=yaml.safe_dump(values),
                              capture_output=True, text=True, check=False)
        expect(done.returncode != 0, f"{values} is taken")
        expect(named in done.stderr, f"{values}: {done.stderr}")


def check_public_port():
    """Connection tokens name the port that edges dial."""
    service, tunnel = "hub.service.", "hub.config.tunnel."
    for named, values in [
        (8443, []),
        (443, [f"{service}port=443"]),
        (443, [f"{service}type=LoadBalancer", f"{service}port=443", f"{service}nodePort=30443"]),
        (30443, [f"{service}type=NodePort", f"{service}port=443", f"{service}nodePort=30443"]),
        (None, [f"{service}type=NodePort"]),
        (9, [f"{service}port=443", f"{tunnel}publicPort=9"]),
    ]:
        text = render(*(word for value in values for word in ("--set", value)))
        [data] = [o["data"]["hub.json"] for o in yaml.safe_load_all(text)
                  if o and o["kind"] == "ConfigMap" and "hub.json" in o["data"]]
        found = json.loads(data).get("tunnel", {}).get("publicPort")
        expect(found == named, f"{values}: tokens name {found}, not {named}")


def check_user():
    """A field that is null is nobody's but the cluster's."""
    objects = [o for o in yaml.safe_load_all(render("--values", CHART / "ci" / "openshift-values.yaml")) if o]
    for name, pod in pod_specs(objects):
        left = {"runAsUser", "runAsGroup", "fsGroup"} & set(pod["securityContext"])
        expect(not left, f"{name} has {left} of its own")


class Cluster(http.server.BaseHTTPRequestHandler):
    """As much of the Kubernetes API as `lookup` asks for: one Secret, with one of the two keys in it."""
    kept = {"fra-1": base64.b64encode(b"kept").decode()}

    @staticmethod
    def resources(version, *kinds):
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": [
            {"name": re.sub(r"y$", "ie", k.lower()) + "s", "namespaced": True, "kind": k, "verbs": ["get"]} for k in kinds]}

    def do_GET(self):
        known = {
            "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [
                {"name": name, "versions": [{"groupVersion": f"{name}/v1", "version": "v1"}]}
                for name in ("apps", "networking.k8s.io")]},
            "/api/v1": self.resources("v1", "Secret", "ConfigMap", "Service", "PersistentVolumeClaim",
                                      "ServiceAccount", "Pod"),
            "/apis/apps/v1": self.resources("apps/v1", "Deployment"),
            "/apis/networking.k8s.io/v1": self.resources("networking.k8s.io/v1", "NetworkPolicy"),
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


# `helm install` and `helm upgrade` as the documents have them, where no cluster is: they print what they would send.
RENDERING_HELM = """#!/usr/bin/env bash
[[ $1 == install || $1 == upgrade ]] || { echo "helm $1: not where no cluster is" >&2; exit 1; }
shift
for word in "$@"; do
    [[ $word == --create-namespace || $word == --reuse-values ]] || words+=("$word")
done
exec HELM template "${words[@]}"
"""


def check_documents(options):
    """What the documents tell to do with helm, pasted as it stands."""
    documents = doc_blocks.with_blocks("helm")
    expect(len(documents) >= 3, f"blocks for helm are in {documents} only")
    for document in documents:
        with tempfile.TemporaryDirectory() as folder:
            helm = pathlib.Path(folder) / "bin" / "helm"
            helm.parent.mkdir()
            helm.write_text(RENDERING_HELM.replace("HELM", shutil.which("helm")))
            helm.chmod(0o755)
            (pathlib.Path(folder) / "helm").symlink_to(ROOT / "helm")
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", doc_blocks.script(document, "helm")], cwd=folder,
                                  env=dict(os.environ, PATH=f"{helm.parent}:{os.environ['PATH']}"), text=True,
                                  capture_output=True, timeout=300, check=False)
        expect(done.returncode == 0, f"{document}: exit {done.returncode}\n{done.stderr}")
        expect(workloads([o for o in yaml.safe_load_all(done.stdout) if o]), f"{document}: nothing that runs")
        run(options.validate, given=done.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--validate")
    parser.add_argument("--golden", action="store_true")
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build" / "release" / "bin")
    options = parser.parse_args()
    if options.golden:
        return make_golden()
    if not options.validate:
        parser.error("--validate is needed")
    options.bin = options.bin.resolve()
    run("helm", "lint", "--strict", CHART)
    expect(len(CI) >= 8, f"only {len(CI)} ci/*-values.yaml")
    known = {golden_of(path) for path in CI}
    expect(known == set(GOLDEN.glob("*.yaml")), "golden/ and ci/ differ: tests/chart/run.py --golden")
    for path in CI:
        print(f"{path.name.removesuffix('-values.yaml')}: ", end="", flush=True)
        check_values(path, options)
    check_refused()
    check_public_port()
    check_user()
    check_kept()
    check_documents(options)
    print("chart: all well")


if __name__ == "__main__":
    sys.exit(main())
