"""Configuration of the three programs: file, environment, --set, secrets from files, what is refused and
how it is told.  Nothing here starts a service but the tests of what a start makes.
"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import unittest

import e2e
from e2e import penstock

SERVICES = ("hub", "edge", "traffic")
LISTENERS = {"hub": ["tunnel.listen"], "traffic": ["http.listen", "https.listen"]}


CA_CONF = """[ca]
default_ca = own
[own]
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
"""


def ended_certificate(folder, name):
    """A self-signed one of 2020."""
    made = penstock.Certificate(folder, name)
    (folder / "ca.conf").write_text(CA_CONF.format(folder=folder))
    (folder / "index.txt").write_text("")
    request = folder / "request.pem"
    for command in (["req", "-new", "-key", made.key_file, "-subj", f"/CN={name}", "-out", request],
                    ["ca", "-batch", "-notext", "-config", folder / "ca.conf", "-selfsign", "-keyfile", made.key_file,
                     "-in", request, "-startdate", "20200101000000Z", "-enddate", "20200201000000Z",
                     "-out", made.chain_file]):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    return made


class Conf(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="penstock-conf-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_service(self, service, *options, env=None, conf=None):
        if conf is not None:
            path = self.folder / "conf.json"
            path.write_text(conf if isinstance(conf, str) else json.dumps(conf))
            options = ("--config", str(path), *options)
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")}
        return subprocess.run([penstock.BUILD / "bin" / f"penstock-{service}", *options], env={**clean, **(env or {})},
                              capture_output=True, text=True, timeout=e2e.SECS)

    def check(self, service, *options, **more):
        """--check must be content."""
        done = self.run_service(service, "--check", *options, **more)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def refused(self, service, *options, words=(), **more):
        """--check must refuse, with each of these words in what it says."""
        done = self.run_service(service, "--check", *options, **more)
        self.assertEqual(done.returncode, 2, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        return done.stderr

    def printed(self, service, *options, **more):
        done = self.run_service(service, "--print-config", *options, **more)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)


def of_each_service(test):
    def run(self):
        for service in SERVICES:
            with self.subTest(service):
                test(self, service)
    run.__doc__ = test.__doc__
    return run


class Everyone(Conf):
    @of_each_service
    def test_defaults_are_good(self, service):
        self.check(service)
        self.check(service, conf={})

    @of_each_service
    def test_what_is_printed_can_be_read(self, service):
        """--print-config gives a file of the same form (secrets aside)."""
        conf = self.printed(service, "--set", "workers=3")
        self.assertEqual(conf["workers"], 3)
        self.assertEqual(self.printed(service, conf=conf), conf)

    @of_each_service
    def test_unknown_keys(self, service):
        text = self.refused(service, conf={"wrokers": 1, "log": {"levle": "info"}}, words=[
            "conf.json", "wrokers", "log.levle", "no such key", "workers", "level"])
        self.assertEqual(len(text.strip().splitlines()), 2)  # both are told
        self.refused(service, "--set", "no.such.key=1", words=["--set", "no.such.key"])
        self.refused(service, "--set", "managment.listen=:1", words=["managment.listen", "the nearest is management.listen"])

    @of_each_service
    def test_wrong_types(self, service):
        for conf, key in (({"workers": "2"}, "workers"), ({"workers": 2.5}, "workers"), ({"workers": None}, "workers"),
                          ({"workers": [2]}, "workers"), ({"stateDir": 1}, "stateDir"), ({"log": "info"}, "log"),
                          ({"log": {"level": 1}}, "log.level"), ({"management": {"hosts": "x"}}, "management.hosts"),
                          ({"management": {"hosts": [1]}}, "management.hosts"),
                          ({"management": {"listen": 9001}}, "management.listen")):
            with self.subTest(str(conf)):
                self.refused(service, conf=conf, words=["conf.json", key, "must"])

    @of_each_service
    def test_out_of_range(self, service):
        for key, value, words in (("workers", "-1", ["0 to 1024"]), ("workers", "1025", ["0 to 1024"]),
                                  ("workers", "99999999999999999999", ["workers"]),
                                  ("management.bodyBytes", "1", ["management.bodyBytes"]),
                                  ("log.level", "loud", ["debug, info, warn, error"]),
                                  ("management.listen", "localhost", ["management.listen"]),
                                  ("management.listen", "127.0.0.1:65536", ["management.listen"]),
                                  ("management.listen", "", ["management.listen"]), ("stateDir", "", ["stateDir"])):
            with self.subTest(f"{key}={value}"):
                self.refused(service, "--set", f"{key}={value}", words=["--set", *words])

    @of_each_service
    def test_bad_json(self, service):
        for text in ("", "{", "[]", "1", '{"workers":1,}', '{"workers":1}x', '{"workers":1,"workers":2}',
                     "{'workers':1}", '{"workers":01}', "\ufeff{}", "[" * 10_000, '{"a":"\x01"}'):
            with self.subTest(text[:20]):
                self.refused(service, conf=text, words=["conf.json"])
        self.refused(service, conf='{\n "log": {"level": "info"},\n  "x" 1}', words=["conf.json: line 3, column 7 (byte 35)"])
        self.refused(service, "--config", "/nonexistent/x.json", words=["/nonexistent/x.json"])
        self.refused(service, "--config", str(self.folder), words=[str(self.folder)])

    @of_each_service
    def test_environment(self, service):
        env = {"PENSTOCK_WORKERS": "7", "PENSTOCK_LOG__LEVEL": "warn", "PENSTOCK_MANAGEMENT__BODY_BYTES": "2048",
               "PENSTOCK_MANAGEMENT__HOSTS": '["a.test"]'}
        conf = self.printed(service, env=env)
        self.assertEqual((conf["workers"], conf["log"]["level"], conf["management"]["bodyBytes"],
                          conf["management"]["hosts"]), (7, "warn", 2048, ["a.test"]))
        self.refused(service, env={"PENSTOCK_WORKERS": "many"}, words=["PENSTOCK_WORKERS", "workers"])
        self.refused(service, env={"PENSTOCK_MANAGEMENT__HOSTS": "a.test"},
                     words=["PENSTOCK_MANAGEMENT__HOSTS", 'must be a JSON array, as in ["hub"]'])

    @of_each_service
    def test_order_of_sources(self, service):
        """Default, file, environment, command line."""
        env = {"PENSTOCK_WORKERS": "2"}
        self.assertEqual(self.printed(service)["workers"], 0)
        self.assertEqual(self.printed(service, conf={"workers": 1})["workers"], 1)
        self.assertEqual(self.printed(service, conf={"workers": 1}, env=env)["workers"], 2)
        self.assertEqual(self.printed(service, "--set", "workers=3", conf={"workers": 1}, env=env)["workers"], 3)

    @of_each_service
    def test_unknown_variables(self, service):
        """A start warns, for others' may stand in its environment; a check refuses; neither minds those that
        Kubernetes and Docker make."""
        typo = {"PENSTOCK_MANAGEMNT__LISTEN": "10.0.0.1:1"}
        text = self.refused(service, env=typo, words=["PENSTOCK_MANAGEMNT__LISTEN: no such key",
                                                      "the nearest is PENSTOCK_MANAGEMENT__LISTEN"])
        self.assertNotIn("10.0.0.1", text)
        done = self.run_service(service, "--print-config", env=typo)
        self.assertEqual(done.returncode, 0)
        self.assertIn("unknown_variables", done.stderr)
        self.assertIn("PENSTOCK_MANAGEMNT__LISTEN", done.stderr)
        self.check(service, env={"PENSTOCK_HUB_SERVICE_HOST": "10.0.0.1", "PENSTOCK_HUB_SERVICE_PORT": "8443",
                                 "PENSTOCK_HUB_PORT": "tcp://10.0.0.1:8443", "PENSTOCK_HUB_PORT_8443_TCP_ADDR": "10.0.0.1",
                                 "PENSTOCK_HUB_NAME": "/edge/penstock_hub", "PENSTOCK_HUB_ENV_X": "y"})

    @of_each_service
    def test_secrets(self, service):
        secret = "a-management-token-0123456789"
        text = self.refused(service, "--set", f"management.token={secret}", words=["management.token"])
        self.assertNotIn(secret, text)
        for options in ({"conf": {"management": {"token": secret}}}, {"env": {"PENSTOCK_MANAGEMENT__TOKEN": secret}}):
            done = self.run_service(service, "--print-config", **options)
            self.assertEqual(json.loads(done.stdout)["management"]["token"], "***")
            self.assertNotIn(secret, done.stdout + done.stderr)
        text = self.refused(service, conf={"management": {"token": "short"}}, words=["management.token"])
        self.assertNotIn("short", text.replace("shorter", ""))

    @of_each_service
    def test_secret_from_a_file(self, service):
        """A missing one is made at the start, an empty one ends it."""
        file = self.folder / f"{service}-token"
        file.write_text("a-management-token-0123456789\n")
        options = "--set", f"management.tokenFile={file}"
        self.check(service, *options)
        self.refused(service, *options, conf={"management": {"token": "b" * 43}}, words=["management.tokenFile"])
        file.write_text("")
        done = self.run_service(service, *options, "--set", f"stateDir={self.folder / 'state'}",
                                "--set", "management.listen=127.0.0.1:0", *(
                                    option for key in LISTENERS.get(service, ()) for option in ("--set", f"{key}=127.0.0.1:0")))
        self.assertNotIn(done.returncode, (0, -6, -11))
        self.assertIn(str(file), done.stderr)
        file.unlink()
        self.check(service, *options)
        self.assertFalse(file.exists())

    @of_each_service
    def test_command_line(self, service):
        self.assertEqual(self.run_service(service, "--version").stdout, f"penstock-{service} 0.1.0\n")
        help_ = self.run_service(service, "--help").stdout
        for word in ("--config", "--set", "--check", "--print-config", "healthcheck", "management.listen",
                     "PENSTOCK_", "stateDir"):
            self.assertIn(word, help_)
        for options in (("--nope",), ("nope",), ("--config",), ("--set",), ("--set", "workers")):
            done = self.run_service(service, *options)
            self.assertEqual(done.returncode, 2, options)
            self.assertIn(f"penstock-{service}: ", done.stderr)
        keys = self.run_service(service, "--print-keys").stdout
        self.assertIn("| `management.listen` |", keys)

    @of_each_service
    def test_check_leaves_nothing_behind(self, service):
        self.check(service, "--set", f"stateDir={self.folder / 'state'}")
        self.assertFalse((self.folder / "state").exists())


class Signals(Conf):
    """SIGTERM while a service starts, SIGHUP while it runs."""

    def start(self, stack, service, **conf):
        return {"hub": lambda: stack.hub({}, **conf), "edge": lambda: stack.edge(**conf),
                "traffic": lambda: stack.traffic(**conf)}[service]()

    @of_each_service
    def test_end_while_it_starts(self, service):
        """In order, however early: as process 1 of a container it would be lost otherwise."""
        with penstock.Stack() as stack:
            running = self.start(stack, service)
            running.status()
            running.stop(0)
            for _ in range(5):
                running.start()
                running.wait_event("listening", name="management")
                running.stop(0)

    def reload(self, running, event, **changes):
        """Writes the file anew, sends SIGHUP; the line that tells what came of it."""
        count = len(running.events(event))
        penstock.merge(running.conf, changes)
        (running.folder / f"{running.name}.json").write_text(json.dumps(running.conf))
        running.process.send_signal(signal.SIGHUP)
        return running.wait_event(event, count=count + 1)

    @of_each_service
    def test_reload(self, service):
        file = self.folder / f"{service}-token"
        old, new = "old-management-token-01234", "new-management-token-01234"
        file.write_text(old + "\n")
        with penstock.Stack() as stack:
            running = self.start(stack, service, management={"tokenFile": str(file)})

            def status(token, **headers):
                return running.api("GET", "/v1/status", token=token, headers=headers).status

            self.assertEqual((status(old), status(new)), (200, 401))
            file.write_text(f"{new}\n{old}\n")
            self.reload(running, "reloaded")
            self.assertEqual((status(old), status(new)), (200, 200))
            file.write_text(new + "\n")
            self.reload(running, "reloaded", log={"level": "debug"}, management={"hosts": ["new.example.test"]},
                        limits={"managementChanges": 7})
            self.assertEqual((status(old), status(new)), (401, 200))
            self.assertEqual(status(new, Host="new.example.test"), 200)
            self.assertEqual(running.api("GET", "/v1/log-level", token=new).json, {"level": "debug"})
            config = running.api("GET", "/v1/config", token=new).json
            self.assertEqual((config["management"]["hosts"], config["limits"]["managementChanges"]), (["new.example.test"], 7))

    @of_each_service
    def test_reload_that_is_refused(self, service):
        """All or nothing, and the line names each key that only a start reads."""
        with penstock.Stack() as stack:
            running = self.start(stack, service)
            running.status()
            refused = self.reload(running, "reload_refused", workers=3, log={"level": "debug"}, stateDir="/nowhere")
            self.assertEqual(set(refused["keys"].split(", ")), {"workers", "stateDir"})
            self.assertEqual(running.api("GET", "/v1/log-level").json, {"level": "info"})
            running.conf["workers"] = "many"
            refused = self.reload(running, "reload_refused")
            self.assertIn("faults", refused["why"])
            self.assertEqual(running.api("GET", "/v1/log-level").json, {"level": "info"})
            self.assertEqual(running.api("GET", "/healthz").status, 200)

    @of_each_service
    def test_a_start_that_fails(self, service):
        """Status 1: it may go well another time (systemd tries again); the line names the key."""
        with socket.create_server(("127.0.0.1", 0)) as holder, penstock.Stack() as stack:
            address = "%s:%d" % holder.getsockname()
            key = next(iter(LISTENERS.get(service, ())), "management.listen")
            running = self.start(stack, service)
            running.status()  # it holds its signals by now
            base = running.conf
            for taken in (key, "management.listen"):
                done = self.run_service(service, "--set", f"{taken}={address}", "--set", "supervise=false",
                                        conf={**base, "stateDir": str(self.folder)})
                self.assertEqual(done.returncode, 1, done.stderr)
                failed = [json.loads(line) for line in done.stderr.splitlines() if "start_failed" in line]
                self.assertEqual([f["what"] for f in failed], [taken], done.stderr)
                self.assertIn(address, failed[0]["why"])

    def pair(self, cert, key, **more):
        return {"management": {"listen": "127.0.0.1:0", "certFile": str(cert), "keyFile": str(key)}, **more}

    @of_each_service
    def test_certificates_of_the_management_api(self, service):
        """A pair that does not match is told by its key; one that has ended is served, with a warning."""
        one, other = (penstock.Certificate(self.folder, f"{n}.example.test") for n in "ab")
        with penstock.Stack() as stack:
            running = self.start(stack, service)
            running.status()  # it holds its signals by now
            base = running.conf
            conf = {**base, **self.pair(one.chain_file, other.key_file), "stateDir": str(self.folder / "state")}
            done = self.run_service(service, "--set", "supervise=false", conf=conf)
            self.assertEqual(done.returncode, 2, done.stderr)
            failed = [json.loads(line) for line in done.stderr.splitlines() if "start_failed" in line]
            self.assertEqual([f["what"] for f in failed], ["management.certFile"])
            old = ended_certificate(self.folder, "old.example.test")
            running = self.start(stack, service, management={"certFile": str(old.chain_file), "keyFile": str(old.key_file)})
            line = running.wait_event("certificate_expired")
            self.assertEqual((line["key"], line["ended"]), ("management.certFile", "2020-02-01T00:00:00Z"))
            running.wait_event("listening", name="management")

    def test_an_old_certificate_of_the_tunnel(self):
        old = ended_certificate(self.folder, "old.example.test")
        with penstock.Stack() as stack:
            hub = stack.hub({}, tunnel={"certFile": str(old.chain_file), "keyFile": str(old.key_file)})
            self.assertEqual(hub.wait_event("certificate_expired")["key"], "tunnel.certFile")

    def test_hold_time_of_the_edge(self):
        with penstock.Stack() as stack:
            edge = stack.edge()
            edge.status()
            self.reload(edge, "reloaded", holdSecs=77)
            self.assertEqual(edge.api("GET", "/v1/config").json["holdSecs"], 77)


class Hub(Conf):
    def edges(self, *edges):
        return {"edges": list(edges)}

    def test_edges(self):
        good = {"id": "e1", "listenPorts": [80, 443], "secret": "s" * 43}
        self.check("hub", conf=self.edges(good, {"id": "e2"}))
        for edges, where in (
                ([{}], "edges/0/id"), ([{"id": "a b"}], "edges/0/id"), ([{"id": "x" * 65}], "edges/0/id"),
                ([good, good], "edges/1"), ([{**good, "listenPorts": [0]}], "listenPorts/0"),
                ([{**good, "listenPorts": [80, 80]}], "listenPorts/1"), ([{**good, "listenPorts": [65536]}], "listenPorts/0"),
                ([{**good, "listenPorts": ["80"]}], "listenPorts/0"), ([{**good, "listenPortsUdp": [53, 53]}], "listenPortsUdp/1"),
                ([{**good, "secret": "short"}], "secret"), ([{**good, "secret": "s" * 42 + "!"}], "secret"),
                ([{**good, "secretFile": "/x"}], "secretFile"), ([{**good, "maxInstances": 0}], "maxInstances"),
                ([{**good, "listenPorts": list(range(1, 1026))}], "listenPorts"), ([{**good, "nope": 1}], "nope"), (["e1"], "edges/0")):
            with self.subTest(where):
                text = self.refused("hub", conf=self.edges(*edges))
                self.assertIn(where.replace("/", "."), text.replace("/", ".").replace("[", ".").replace("]", ""))
                self.assertNotIn("s" * 42, text)

    def test_secrets_of_edges_are_masked(self):
        conf = self.edges({"id": "e1", "secret": "s" * 43})
        done = self.run_service("hub", "--print-config", conf=conf)
        self.assertEqual(done.returncode, 0)
        self.assertNotIn("s" * 43, done.stdout)

    def test_targets(self):
        self.check("hub", conf={"target": {"ports": {"80": 7999, "443": {"host": "traffic", "port": 8000,
                                                                             "proxyProtocol": "v2"}}}})
        for ports in ({"0": 1}, {"65536": 1}, {"x": 1}, {"80": 0}, {"80": 70000}, {"80": "7999"}, {"80": {"prot": 1}},
                      {"80": {"port": 80, "proxyProtocol": "v3"}}, {"80": {"port": 1, "host": "no host!"}}, [80], {"080": 1}):
            with self.subTest(str(ports)):
                self.refused("hub", conf={"target": {"ports": ports}}, words=["target"])

    def test_target_that_is_the_hub_itself(self):
        """No stream may lead back into the hub: refused where it is configured, or at the start."""
        tunnel = penstock.free_port()
        for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0"):
            for target in ({"ports": {"80": {"host": host, "port": tunnel}}}, {"host": host, "ports": {"80": tunnel}},
                           {"host": host, "ports": {}}):
                with self.subTest(str(target)):
                    listen = f"[::]:{tunnel}" if ":" in host else f"0.0.0.0:{tunnel}"
                    conf = {"tunnel": {"listen": listen}, "target": target, "stateDir": str(self.folder / "state"),
                            "management": {"listen": "127.0.0.1:0"}, "log": {"format": "json"},
                            "edges": [{"id": "e1", "listenPorts": [80 if target["ports"] else tunnel]}]}
                    done = self.run_service("hub", conf=conf)
                    self.assertNotEqual(done.returncode, 0)
                    self.assertIn("own", done.stderr)
                    self.assertIn("tunnel", done.stderr)

    def test_target_that_is_the_hubs_management(self):
        with penstock.Stack() as stack:
            hub = stack.hub({})
            port = hub.address("management")[1]
            answer = hub.api("POST", "/v1/edges", {"id": "e1", "listenPorts": [80, port]}, expect=422).json
            self.assertEqual([e["pointer"] for e in answer["errors"]], ["/listenPorts/1"])
            self.assertIn("management", answer["errors"][0]["detail"])
            self.assertEqual(hub.api("GET", "/v1/edges").json, {"edges": []})

    def test_what_a_first_start_makes(self):
        """Tokens, secrets, certificate and key: made once, private, and kept."""
        with penstock.Stack() as stack:
            hub = stack.hub({}, edges=[{"id": "e1"}])
            hub.wait_event("started")
            state = hub.state_dir
            made = sorted(p for p in state.rglob("*") if p.is_file())
            self.assertIn(state / "edges" / "e1.secret", made)
            self.assertIn(state / "management-token", made)
            self.assertGreaterEqual(len(made), 4)
            for path in made:
                if path.suffix != ".crt":
                    self.assertEqual(path.stat().st_mode & 0o077, 0, path)
            self.assertRegex((state / "edges" / "e1.secret").read_text(), r"\A[A-Za-z0-9_-]{43}\n?\Z")
            before = {p: p.read_bytes() for p in made if not p.name.startswith("hub.db")}
            hub.stop(0)
            hub.start()
            hub.wait_event("started")
            self.assertEqual({p: p.read_bytes() for p in before}, before)
            printed = self.run_service("hub", "management-token", "--config", str(hub.folder / "hub.json"))
            self.assertEqual(printed.stdout.strip(), hub.token())

    def test_management_token_makes_nothing(self):
        """A token that no service knows is worth nothing: there is none before the first start."""
        for name in ("hub", "edge", "traffic"):
            state = self.folder / name
            told = self.run_service(name, "management-token", "--set", f"stateDir={state}")
            self.assertEqual((told.returncode, told.stdout), (1, ""))
            self.assertEqual(told.stderr, f"no token in {state}: the service makes it at its first start; "
                                          "does it run with another --config?\n")
            self.assertFalse(state.exists())
        file = self.folder / "token"
        told = self.run_service("hub", "management-token", "--set", f"management.tokenFile={file}")
        self.assertEqual(told.returncode, 1)
        self.assertIn(f"no token in {file}: ", told.stderr)
        file.write_text("two blanks are none\n")
        told = self.run_service("hub", "management-token", "--set", f"management.tokenFile={file}")
        self.assertEqual(told.returncode, 1)
        self.assertIn("blanks", told.stderr)
        told = self.run_service("hub", "management-token", env={"PENSTOCK_MANAGEMENT__TOKEN": "t" * 24})
        self.assertEqual((told.returncode, told.stdout), (0, "t" * 24 + "\n"))

    def test_secret_file(self):
        file = self.folder / "e1"
        with penstock.Stack() as stack:
            hub = stack.hub({}, edges=[{"id": "e1", "secretFile": str(file)}])
            hub.wait_event("started")
            self.assertRegex(file.read_text(), r"\A[A-Za-z0-9_-]{43}\n?\Z")
            token = hub.api("POST", "/v1/edges/e1/token", {"hubHost": "h", "hubPort": 1}, expect=200).json["token"]
            self.assertEqual(penstock.decode_token(token)["secret"], file.read_text().strip())
            hub.stop(0)
            file.write_text("not a secret!\n")
            hub.start()
            hub.process.wait(e2e.SECS)
            self.assertNotEqual(hub.process.returncode, 0)
            hub.process = None

    def test_token_command(self):
        encoded = subprocess.run(
            [penstock.BUILD / "bin" / "penstock-hub", "token", "encode", "hubHost=hub.example.test", "hubPort=8443", "edgeId=e1"],
            input=json.dumps({"secret": "s" * 43}), capture_output=True, text=True, timeout=e2e.SECS)
        self.assertEqual(encoded.returncode, 0, encoded.stderr)
        self.assertEqual(penstock.decode_token(encoded.stdout.strip()),
                         {"hubHost": "hub.example.test", "hubPort": 8443, "edgeId": "e1", "secret": "s" * 43})
        decode = [penstock.BUILD / "bin" / "penstock-hub", "token", "decode"]
        shown = subprocess.run(decode, input=encoded.stdout, capture_output=True, text=True, timeout=e2e.SECS)
        self.assertEqual(json.loads(shown.stdout)["edgeId"], "e1")
        self.assertNotIn("s" * 43, shown.stdout)
        shown = subprocess.run([*decode, "--show-secret"], input=encoded.stdout, capture_output=True, text=True, timeout=e2e.SECS)
        self.assertEqual(json.loads(shown.stdout)["secret"], "s" * 43)
        wrong = subprocess.run(decode, input="nonsense\n", capture_output=True, text=True, timeout=e2e.SECS)
        self.assertNotEqual(wrong.returncode, 0)


class Edge(Conf):
    TOKEN_FIELDS = {"hubHost": "hub.example.test", "hubPort": 8443, "edgeId": "e1", "secret": "s" * 43}

    def token(self, **changes):
        import base64
        fields = {k: v for k, v in {**self.TOKEN_FIELDS, **changes}.items() if v is not None}
        return base64.urlsafe_b64encode(json.dumps(fields).encode()).rstrip(b"=").decode()

    def test_token_or_fields(self):
        self.check("edge", conf={"token": self.token()})
        self.check("edge", conf=self.TOKEN_FIELDS)
        self.check("edge", env={"PENSTOCK_TOKEN": self.token()})
        file = self.folder / "token"
        file.write_text(self.token() + "\n")
        self.check("edge", "--set", f"tokenFile={file}")
        file.write_text("")
        self.refused("edge", "--set", f"tokenFile={file}", words=["tokenFile"])
        file.unlink()
        self.refused("edge", "--set", f"tokenFile={file}", words=["tokenFile"])
        self.refused("edge", conf={"token": self.token(), "edgeId": "e2"}, words=["token"])
        for changes, key in (({"hubHost": None}, "hubHost"), ({"hubPort": 0}, "hubPort"), ({"edgeId": "a b"}, "edgeId"),
                             ({"secret": "short"}, "secret"), ({"secret": None}, "secret"), ({"pin": "x"}, "pin")):
            with self.subTest(key=key):
                text = self.refused("edge", conf={"token": self.token(**changes)}, words=["token", key])
                self.assertNotIn("s" * 43, text)
        self.refused("edge", conf={"token": "!!"}, words=["token"])
        for missing in ("hubHost", "edgeId", "secret"):
            conf = {k: v for k, v in self.TOKEN_FIELDS.items() if k != missing}
            self.refused("edge", conf=conf, words=[missing])
        self.refused("edge", conf={**self.TOKEN_FIELDS, "pin": "x"}, words=["pin"])
        self.refused("edge", conf={**self.TOKEN_FIELDS, "secret": "s" * 30}, words=["secret", "pin"])
        self.check("edge", conf={**self.TOKEN_FIELDS, "secret": "s" * 30, "pin": "A" * 43})
        self.refused("edge", conf={**self.TOKEN_FIELDS, "caFile": "/nonexistent"}, words=["caFile"])
        text = self.refused("edge", "--set", f"token={self.token()}", words=["token"])
        self.assertNotIn(self.token(), text)

    def test_values(self):
        for key, value in (("bindAddress", "host.test"), ("stun.server", "host:0"), ("stun.server", "::1"),
                           ("stun.rtoMs", "9"), ("stun.tries", "17"), ("transportMode", "sctp"), ("holdSecs", "-1"), ("holdSecs", "1e3"),
                           ("tunnel.maxWindow", "1"), ("limits.heldClients", "x"), ("instance", "i" * 254)):
            with self.subTest(key=key):
                self.refused("edge", "--set", f"{key}={value}", words=[key])


class Traffic(Conf):
    def test_values(self):
        for key, value in (("http.redirectPort", "0"), ("http.redirectPort", "65536"), ("https.listen", "x"),
                           ("proxyProtocol.trusted", '["10.0.0.0/33"]'), ("proxyProtocol.trusted", '["no host!"]'),
                           ("versionHeader", "not a header:"), ("timeouts.connectSecs", "0"), ("limits.headerBytes", "1")):
            with self.subTest(key=key):
                self.refused("traffic", "--set", f"{key}={value}", words=[key])
        self.check("traffic", "--set", 'proxyProtocol.trusted=["10.0.0.0/8","::1","hub"]')


if __name__ == "__main__":
    unittest.main(verbosity=2)
