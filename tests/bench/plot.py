"""A bar chart of ratios as SVG: a bar a row, 1 marked, the goal as a tick."""
from xml.sax.saxutils import escape

WIDTH, LEFT, BAR, GAP = 900, 330, 18, 10


def bars(results):
    top = 40
    most = max([r["ratio"] for r in results] + [r["goal"] or 0 for r in results] + [1.0]) * 1.15
    scale = (WIDTH - LEFT - 70) / most
    height = top + len(results) * (BAR + GAP) + 30
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
           '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="10" y="22" font-size="15">Penstock beside its peers: ratio of medians (above 1 is better)</text>']
    for i, r in enumerate(results):
        y = top + i * (BAR + GAP)
        good = r["goal"] is None or r["ratio"] >= r["goal"]
        out.append(f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(r["row"])} / {escape(r["peerName"])}</text>')
        out.append(f'<rect x="{LEFT}" y="{y}" width="{r["ratio"] * scale:.1f}" height="{BAR}" fill="{"#2b7a78" if good else "#c05640"}"/>')
        out.append(f'<text x="{LEFT + r["ratio"] * scale + 6:.1f}" y="{y + 14}">{r["ratio"]:.2f}</text>')
        if r["goal"]:
            x = LEFT + r["goal"] * scale
            out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 3}" y2="{y + BAR + 3}" stroke="black" stroke-width="2"/>')
    x = LEFT + scale
    out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 6}" y2="{height - 24}" stroke="#888" stroke-dasharray="4 3"/>')
    out.append(f'<text x="{x:.1f}" y="{height - 8}" text-anchor="middle">1 (the peer)</text><text x="{WIDTH - 10}" y="{height - 8}" text-anchor="end">black tick: the goal</text>')
    return "\n".join(out) + "\n</svg>\n"
