// sparkline - throughput of the last two minutes as two lines: from clients (with a wash below), to
// clients.  The numbers stand beside it in words, so it is hidden from readers.

import { makeSvg } from "./dom.js";

const WIDTH = 120;
const HEIGHT = 24;
const SAMPLES = 60;

export function makeSparkline() {
  const svg = makeSvg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const name of ["floor", "area-in", "line-in", "line-out"]) svg.append(makeSvg("path", { class: name }));
  svg.querySelector(".floor").setAttribute("d", `M0 ${HEIGHT - 0.5}H${WIDTH}`);
  return svg;
}

/* The newest sample stands at the right end. */
function pathOf(values, most) {
  const step = WIDTH / (SAMPLES - 1);
  return values.map((value, i) => {
    const x = WIDTH - (values.length - 1 - i) * step;
    const y = HEIGHT - 1 - (value / most) * (HEIGHT - 3);
    return `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
  }).join("");
}

export function setSparkline(svg, history) {
  const top = Math.max(...history.in, ...history.out);
  const most = Math.max(1, top);
  const lines = top > 0 ? { in: pathOf(history.in, most), out: pathOf(history.out, most) } : { in: "", out: "" };
  const from = WIDTH - (history.in.length - 1) * (WIDTH / (SAMPLES - 1));
  svg.querySelector(".line-in").setAttribute("d", lines.in);
  svg.querySelector(".line-out").setAttribute("d", lines.out);
  svg.querySelector(".area-in").setAttribute("d", lines.in ? `${lines.in}L${WIDTH} ${HEIGHT}L${from.toFixed(1)} ${HEIGHT}Z` : "");
}
