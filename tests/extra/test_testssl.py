"""testssl.sh (Debian's package) on traffic's TLS listener: it finds nothing above LOW."""
import json
import shutil
import subprocess
import unittest

import extra
from traffic_stand import HOST, Stand

# What it says of the test's own certificate, which no CA has signed and nobody revokes, and of a name
# that no public DNS knows: not of traffic.
OF_THE_CERTIFICATE = {"cert_chain_of_trust", "cert_trust", "cert_revocation", "cert_crlDistributionPoints",
                      "cert_ocspURL", "DNS_CAArecord", "cert_notAfter", "cert_expirationStatus",
                      "cert_extlifeSpan", "cert_subjectAltName", "cert_caIssuers", "overall_grade"}
BAD = ("MEDIUM", "HIGH", "CRITICAL", "FATAL")
PARTS = ["--protocols", "--std", "--server-preference", "--fs", "--server-defaults", "--vulnerable"]


class Testssl(unittest.TestCase):
    def test_no_finding_above_low(self):
        with Stand() as stand:
            out = stand.stack.folder / "testssl.json"
            port = stand.https[1]
            done = subprocess.run(
                [shutil.which("testssl") or "testssl.sh", "--quiet", "--color", "0", "--warnings", "batch",
                 "--ip", "127.0.0.1", "--nodns", "none", "--jsonfile", str(out), *PARTS, f"{HOST}:{port}"],
                capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)
            findings = json.loads(out.read_text())
            said = {f["id"]: f for f in findings}
            bad = [f"{f['severity']} {f['id']}: {f['finding']}" for f in findings
                   if f["severity"] in BAD and f["id"].split(" ")[0] not in OF_THE_CERTIFICATE]
            self.assertEqual(bad, [], done.stdout[-3000:])
            for protocol, word in (("SSLv2", "not offered"), ("SSLv3", "not offered"), ("TLS1", "not offered"),
                                   ("TLS1_1", "not offered"), ("TLS1_2", "offered"), ("TLS1_3", "offered")):
                self.assertTrue(said[protocol]["finding"].startswith(word), said[protocol])
            self.assertGreater(len(findings), 50)  # it has looked


if __name__ == "__main__":
    if not (shutil.which("testssl") or shutil.which("testssl.sh")):
        extra.not_run("there is no testssl.sh here (Debian's package testssl.sh)")
    unittest.main(verbosity=2)
