"""What the dashboard's tests share: a hub with a page open on it, and the judges: complaints of the browser,
contrast, names in the accessibility tree, what is stored, what does not fit."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import browser as chromium  # noqa: E402
import e2e  # noqa: E402
from e2e import penstock, wait_for  # noqa: E402,F401

SECS = e2e.SECS

# Text whose contrast is below WCAG's AA (4.5; 3 where it is large or bold and not small), as "text: ratio".
CONTRAST = """
const rgb = (text) => { const m = text.match(/[\\d.]+/g).map(Number); return {c: m.slice(0, 3), a: m[3] ?? 1}; };
const over = (top, under) => top.c.map((v, i) => v * top.a + under[i] * (1 - top.a));
const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const ground = (node) => { // layers from the page to the node
  const up = []; for (let n = node; n; n = n.parentElement) { up.push(n); if (n.nodeName === 'DIALOG') break; }
  return up.reverse().reduce((under, n) => over(rgb(getComputedStyle(n).backgroundColor), under), [255, 255, 255]); };
const open = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document.body;
const bad = [];
const walk = document.createTreeWalker(open, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const node = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
  if (!text || !node.checkVisibility({visibilityProperty: true}) || node.closest('.unseen, dialog:not([open]), option, script, :disabled')) continue;
  const style = getComputedStyle(node), under = ground(node), ink = over(rgb(style.color), under);
  const [a, b] = [light(ink), light(under)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
  const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  if (ratio < (large ? 3 : 4.5)) bad.push(`${text.slice(0, 40)}: ${ratio.toFixed(2)}`);
}
return bad;
"""

# What sticks out to the right of the window.
WIDE = """
const width = document.documentElement.clientWidth;
const open = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document.body;
const out = [...open.querySelectorAll('*')].filter((n) => n.checkVisibility() && !n.closest('.unseen, .sprite, #edges thead')
  && n.getBoundingClientRect().right > width + 0.5).map((n) => `${n.nodeName}#${n.id}.${n.className.baseVal ?? n.className}`);
if (document.documentElement.scrollWidth > width) out.push(`the page: ${document.documentElement.scrollWidth}`);
if (open.scrollWidth > open.clientWidth + 1) out.push(`the dialog: ${open.scrollWidth}`);
return out;
"""

SMALL = """
const open = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document.body;
return [...open.querySelectorAll('button, input, select')].filter((n) => n.checkVisibility()).filter((n) => {
  const box = (n.labels?.[0] && ['checkbox', 'radio'].includes(n.type) ? n.labels[0] : n).getBoundingClientRect();
  return box.height < 20 || box.width < 24; }).map((n) => n.id || n.textContent);
"""

STORED = """
const found = [];
if (localStorage.length) found.push('localStorage');
if (sessionStorage.length) found.push('sessionStorage');
if (document.cookie) found.push('cookie');
if ((await indexedDB.databases()).length) found.push('indexedDB');
if (self.caches && (await caches.keys()).length) found.push('caches');
return found;
"""

NAMED = {"button", "link", "textbox", "searchbox", "spinbutton", "checkbox", "radio", "combobox", "table", "dialog", "alertdialog",
         "region", "img", "image"}


class Case(e2e.Case):
    """A browser a class, a hub a test: self.open() shows the page of self.hub."""

    @classmethod
    def setUpClass(cls):
        cls.browser = chromium.Browser()
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        super().setUp()
        # Statuses of answers, or words, that the console may show: the browser writes each refusal down.
        self.expected = set()
        self.browser.size(1440, 1000)
        self.browser.scheme("light")
        self.browser.complaints()
        self.browser.log.clear()

    def tearDown(self):
        words = [f"responded with a status of {e} " if isinstance(e, int) else e for e in self.expected]
        wrong = [c for c in self.browser.complaints() if not any(w in c for w in words)]
        self.browser.driver.get("about:blank")
        self.assertEqual(wrong, [])

    def start_hub(self, targets=None, **conf):
        conf.setdefault("tunnel", {})["publicHost"] = "127.0.0.1"
        self.hub = self.stack.hub(targets or {}, **conf)
        return self.hub

    def open(self, log_in=True, read=False):
        self.browser.driver.get("http://%s:%d/" % self.hub.address("management"))
        if log_in:
            self.browser.fill("Management token", self.hub.token(read=read))
            self.browser.click("Log in")
            self.browser.wait("#board")

    # --- the page

    def row(self, edge_id):
        """The words of its row, by column, or None."""
        return self.browser.js("""
            const row = document.querySelector(`#edges tr[data-key="${CSS.escape(arguments[0])}"]`);
            return row && Object.fromEntries([...row.cells].map((c) => [c.dataset.label, c.textContent.trim()]));""", edge_id)

    def wait_row(self, edge_id, secs=SECS, **words):
        """`words`: column (blanks as _) to what stands in it."""
        def fits():
            row = self.row(edge_id)
            return row and all(value in row[key.replace("_", " ")] for key, value in words.items())
        try:
            wait_for(f"the row of {edge_id} with {words}", fits, secs)
        except e2e.Failure as failure:
            raise e2e.Failure(f"{failure}; it is {self.row(edge_id)}") from None

    def wait_state(self, edge_id, word, secs=SECS):
        self.wait_row(edge_id, secs, State=word)

    def wait_closed(self, dialog):
        self.browser.wait_js(f"{dialog} to close", "return !document.getElementById(arguments[0]).open", dialog)

    def sheet(self, edge_id):
        self.browser.click(edge_id)
        self.browser.wait_js("its sheet", "return document.getElementById('sheet').open")

    # --- judges

    def assert_nothing_stored(self):
        self.assertEqual(self.browser.ask(STORED), [])

    def assert_contrast(self, where):
        self.settle()
        self.assertEqual(self.browser.js(CONTRAST), [], where)

    def assert_fits(self, where):
        self.settle()
        self.assertEqual(self.browser.js(WIDE), [], where)
        self.assertEqual(self.browser.js(SMALL), [], where)

    def settle(self):
        """Dialogs come in with a short movement."""
        self.browser.wait_js("rest", "return document.getAnimations().every((a) => a.playState !== 'running')")

    def tree(self):
        """(role, name) of what a screen reader finds."""
        nodes = self.browser.cdp("Accessibility.getFullAXTree")["nodes"]
        return [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"] and "role" in n]

    def assert_named(self, where):
        tree = self.tree()
        self.assertEqual([role for role, name in tree if role in NAMED and not name.strip()], [], where)
        return tree
