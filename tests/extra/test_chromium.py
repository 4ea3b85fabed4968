"""Chromium (Debian's package, headless) on traffic: a page of 200 pictures and a WebSocket, all of it over HTTP/2,
the WebSocket by an extended CONNECT (RFC 8441).  Counted twice: by traffic's access log, and by the page itself,
which tells the origin what protocol each of its pictures came by and what the WebSocket brought.

Chromium is told the key of traffic's certificate (--ignore-certificate-errors-spki-list); any other certificate is
an error to it as ever: the page asks a host with another key, too, and does not get there.
"""
import base64
import contextlib
import hashlib
import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest
import urllib.parse

import extra
from traffic_stand import HOST, Reader, Stand, ok, stack

PICTURES = 200
STRANGER = "stranger.example.test"  # a route whose key Chromium is not told
LOAD_SECS = 120                     # its start on a machine that builds besides takes most of it
WORD = "said by Chromium"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE = 1, 8

PAGE = """<!DOCTYPE html><title>traffic</title><link rel="icon" href="data:,">
{pictures}
<script>
const echo = () => new Promise((done) => {{
  const socket = new WebSocket(`wss://${{location.host}}/ws`);
  let heard = '';
  socket.onopen = () => socket.send({word!r});
  socket.onmessage = (event) => {{ heard = event.data; socket.close(1000); }};
  socket.onclose = (event) => done({{heard, code: event.code, clean: event.wasClean}});
}});
onload = async () => {{
  const entries = performance.getEntriesByType('resource').filter((entry) => entry.name.includes('/picture-'));
  const seen = {{shown: [...document.images].filter((image) => image.naturalWidth === 1).length,
                protocols: entries.map((entry) => entry.nextHopProtocol), echo: await echo(),
                stranger: await fetch('{stranger}', {{mode: 'no-cors'}}).then(() => 'served', () => 'refused')}};
  fetch('/told?' + encodeURIComponent(JSON.stringify(seen)));
}};
</script>
"""
PICTURE = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'


def message(reader):
    """A client's frame: its opcode and what it brings; all are short and whole here."""
    first, length = reader.exactly(2)
    mask, masked = reader.exactly(4), reader.exactly(length & 127)
    return first & 15, bytes(b ^ mask[i % 4] for i, b in enumerate(masked))


def websocket(s, request):
    """Echoes messages, at last the close."""
    accept = base64.b64encode(hashlib.sha1(request.one("sec-websocket-key").encode() + GUID).digest())
    s.sendall(b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    reader, kind = Reader(s), TEXT
    while kind != CLOSE:
        kind, data = message(reader)
        s.sendall(bytes([128 | kind, len(data)]) + data)


def key_hash(certificate):
    """What Chromium knows a key by: SHA-256 of its SubjectPublicKeyInfo."""
    pem = subprocess.run(["openssl", "x509", "-in", certificate.chain_file, "-noout", "-pubkey"], check=True,
                         capture_output=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=pem, check=True, capture_output=True).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


@contextlib.contextmanager
def browser(stand):
    """A Chromium on the page, with a profile of its own; its log is shown when the page does not come."""
    with tempfile.TemporaryDirectory(prefix="penstock-chromium-", ignore_cleanup_errors=True) as folder, \
            (pathlib.Path(folder) / "log").open("w+") as log:
        process = subprocess.Popen(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-extensions",
             f"--ignore-certificate-errors-spki-list={key_hash(stand.certificate(HOST))}",
             "--host-resolver-rules=MAP *.example.test 127.0.0.1", f"--user-data-dir={folder}/profile",
             f"https://{HOST}:{stand.https[1]}/page"], stdout=log, stderr=log)
        try:
            yield
        except stack.Failure:
            log.seek(0)
            print(log.read()[-3000:], flush=True)
            raise
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Chromium(unittest.TestCase):
    def setUp(self):
        exit = contextlib.ExitStack()
        self.addCleanup(exit.close)
        self.stand = exit.enter_context(Stand(workers=2))
        self.stand.routes([self.stand.route(HOST), self.stand.route(STRANGER)])
        answers = self.stand.origin.answers
        self.names = [f"/picture-{i}.svg" for i in range(PICTURES)]
        page = PAGE.format(pictures="".join(f'<img src="{name}">' for name in self.names), word=WORD,
                           stranger=f"https://{STRANGER}:{self.stand.https[1]}/stranger")
        answers["/page"] = ok(page.encode(), ("Content-Type", "text/html"))
        answers.update({name: ok(PICTURE, ("Content-Type", "image/svg+xml")) for name in self.names})
        answers["/ws"] = websocket

    def logged(self, part):
        """What the access log has of paths that begin so."""
        return sorted((l["protocol"], l["status"], l["path"]) for l in self.stand.traffic.events("request")
                      if l["path"].startswith(part))

    def test_page(self):
        with browser(self.stand):
            told = stack.wait_for("the page", lambda: self.stand.origin.seen("/told"), LOAD_SECS)[0]
            self.stand.traffic.wait_event("request", path="/ws")
        seen = json.loads(urllib.parse.unquote(told.target.partition("?")[2]))
        self.assertEqual(seen["shown"], PICTURES)
        self.assertEqual(seen["protocols"], ["h2"] * PICTURES)
        self.assertEqual(seen["echo"], {"heard": WORD, "code": 1000, "clean": True})
        self.assertEqual(seen["stranger"], "refused")
        self.assertEqual(self.stand.origin.seen("/stranger"), [])
        self.assertEqual(self.logged("/picture-"), sorted(("HTTP/2.0", 200, name) for name in self.names))
        self.assertEqual(self.logged("/ws"), [("HTTP/2.0", 200, "/ws")])  # an upgrade over HTTP/2 is an extended CONNECT
        self.assertEqual(self.stand.traffic.metric("penstock_traffic_upgrades_total"), 1)


if __name__ == "__main__":
    CHROMIUM = shutil.which("chromium")
    if not CHROMIUM:
        extra.not_run("there is no chromium here (Debian's package of that name)")
    unittest.main(verbosity=2)
