"""Schemathesis against the management APIs of a live hub, edge and traffic: requests made from api/*.yaml, as
they should be and as they should not, destructive ones included; every answer is held against the document.

Left out are POST /v1/drain, which ends the service, and GET /v1/events, which never ends.  Says "not run: why"
where the packages (schemathesis/requirements.txt, exact versions) can't be had.
"""
import pathlib
import subprocess
import sys
import unittest
import venv

from extra import BUILD, SOURCE, not_run

import e2e
from e2e import penstock

FILES = pathlib.Path(__file__).parent / "schemathesis"
REQUIREMENTS = FILES / "requirements.txt"
HOME = BUILD / "extra" / "schemathesis"
RUN_SECS = 45      # of making requests anew; what the phases before take comes on top
LIMIT_SECS = 240


def install():
    """Into a folder of its own below the build, unless it is there; or ends as not run."""
    done, wanted = HOME / "installed", REQUIREMENTS.read_text()
    if done.exists() and done.read_text() == wanted:
        return
    try:
        venv.create(HOME, clear=True, with_pip=True)
        subprocess.run([HOME / "bin" / "pip", "install", "-q", "-r", REQUIREMENTS], check=True, capture_output=True,
                       text=True, timeout=400)
    except (OSError, subprocess.TimeoutExpired) as failure:
        not_run(f"no room for schemathesis: {failure}")
    except subprocess.CalledProcessError as failure:
        not_run("pip could not install schemathesis: " + " ".join((failure.stderr or "").split())[-300:])
    done.write_text(wanted)


class Schemathesis(e2e.Case):
    MANAGEMENT = {"bodyBytes": 20_000}
    LIMITS = {"managementChanges": 0}

    def attack(self, service):
        """Runs it; the service must not have crashed."""
        host, port = service.address("management")
        command = [
            HOME / "bin" / "schemathesis", "--config-file", FILES / "schemathesis.toml", "--no-color", "run",
            SOURCE / "api" / f"{service.name}.yaml", "--url", f"http://{host}:{port}",
            "--header", f"Authorization: Bearer {service.token()}", "--max-time", str(RUN_SECS), "--warnings", "off"]
        with (HOME / f"{service.name}.log").open("w+") as log:
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, timeout=LIMIT_SECS, cwd=self.stack.folder)
            log.seek(0)
            text = log.read()
        self.assertEqual(done.returncode, 0, text)
        self.assertIn(" generated", text)
        self.assertEqual(service.metric("penstock_crash_recoveries_total"), 0)
        print(service.name, text[text.rindex("SUMMARY"):], sep="\n", flush=True)

    def test_hub(self):
        self.attack(self.stack.hub(
            {}, edges=[{"id": "fra1", "listenPorts": [80], "secret": "s" * 43}], limits=self.LIMITS,
            tunnel={"publicHost": "hub.example.test", "publicPort": 8443}, management=self.MANAGEMENT))

    def test_edge(self):
        self.attack(self.stack.edge(management=self.MANAGEMENT, limits=self.LIMITS))

    def test_traffic(self):
        traffic = self.stack.traffic(management=self.MANAGEMENT, limits=self.LIMITS)
        certificate = penstock.Certificate(self.stack.folder, "app.example.com")
        traffic.api("PUT", "/v1/routes", {"routes": [{
            "hostName": "app.example.com", "destinationIps": ["127.0.0.1"], "destinationPorts": [9],
            "publicKey": certificate.chain, "privateKey": certificate.key}]}, expect=200)
        self.attack(traffic)


if __name__ == "__main__":
    install()
    sys.exit(unittest.main(verbosity=2))
