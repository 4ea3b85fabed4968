"""A flame graph: the stacks of `perf script` on stdin, an SVG on stdout.

    perf script --no-inline -F comm,ip,sym,dso | flame.py [title]

A bar's width is its share of the samples; what it stands on called it.  Kernel bars are blue, GnuTLS
and its libraries green, libc, libev and the rest yellow, our own programs red.  The text and share of a
bar are its tooltip.
"""
import re
import sys
from xml.sax.saxutils import escape

WIDTH, BAR, TEXT, MIN_SHARE = 1400, 17, 6.6, 0.001
FRAME = re.compile(r"^\s+[0-9a-f]+ (.*) \((.*)\)$")


class Node:
    def __init__(self):
        self.count, self.below, self.dso = 0, {}, ""

    def child(self, name, dso):
        node = self.below.setdefault(name, Node())
        node.dso = dso
        return node


def frames(lines):
    """One list of (symbol, dso) a sample, the caller first."""
    stack = []
    for line in lines:
        found = FRAME.match(line)
        if found:
            symbol, dso = found.groups()
            name = dso.rsplit("/", 1)[-1]
            stack.append((re.sub(r"\+0x[0-9a-f]+$", "", symbol) if symbol != "[unknown]" else f"[{name}]", name))
        elif stack and not line.strip():
            yield stack[::-1]
            stack = []
    if stack:
        yield stack[::-1]


def merge(stacks):
    root = Node()
    for stack in stacks:
        root.count += 1
        node, last = root, None
        for symbol, dso in stack:
            if symbol == last and symbol.startswith("["):
                continue  # several places without a name in one library
            last = symbol
            node = node.child(symbol, dso)
            node.count += 1
    return root


def depth(node, total):
    return 1 + max((depth(n, total) for n in node.below.values() if n.count >= total * MIN_SHARE), default=0)


def colour(dso, name):
    shade = sum(name.encode()) % 40
    if "kernel" in dso or dso.endswith(".ko"):
        return f"rgb({120 + shade},{160 + shade},230)"
    if dso.startswith("penstock"):
        return f"rgb(235,{90 + shade},{70 + shade})"
    if re.match(r"lib(gnutls|nettle|hogweed|gmp|tasn1|p11)", dso):
        return f"rgb({110 + shade},200,{110 + shade})"
    return f"rgb(240,{190 + shade},90)"


def draw(node, x, level, total, height, out):
    for name, below in sorted(node.below.items()):
        width = below.count / total * WIDTH
        if below.count >= total * MIN_SHARE:
            y = height - (level + 1) * BAR
            label = name if len(name) * TEXT < width else name[:max(0, int(width / TEXT) - 1)]
            out.append(f'<g><title>{escape(name)} ({escape(below.dso)}): {below.count / total:.1%}</title>'
                       f'<rect x="{x:.1f}" y="{y}" width="{max(width - 0.5, 0.2):.1f}" height="{BAR - 1}" fill="{colour(below.dso, name)}"/>'
                       + (f'<text x="{x + 2:.1f}" y="{y + 12}">{escape(label)}</text>' if len(label) > 1 else "") + "</g>")
            draw(below, x, level + 1, total, height, out)
        x += width


def svg(root, title):
    total = max(root.count, 1)
    height = (depth(root, total) + 3) * BAR
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="11">',
           '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="4" y="14" font-size="13">{escape(title)}: {root.count} samples</text>']
    draw(root, 0.0, 0, total, height, out)
    return "\n".join(out) + "\n</svg>\n"


if __name__ == "__main__":
    sys.stdout.write(svg(merge(frames(sys.stdin)), " ".join(sys.argv[1:]) or "flame graph"))
