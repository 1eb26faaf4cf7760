"use strict";
// The slider: one of the grids is shown.
for (const figure of document.querySelectorAll(".frames")) {
  const slider = figure.querySelector("input"), shown = figure.querySelector("output");
  const grids = [...figure.querySelectorAll("img")];
  if (!slider) continue;
  slider.addEventListener("input", () => {
    grids.forEach((grid, place) => { grid.hidden = place !== Number(slider.value); });
    const label = grids[slider.value].dataset.label;
    shown.textContent = label;
    slider.setAttribute("aria-valuetext", label);
  });
}
// Figures under the pointer, or under the arrow keys, read back from the curves.
const short = (value) => Number(value.toPrecision(4)).toString();
function tell(svg, x) {
  const [lowX, highX, lowY, highY] = svg.dataset.range.split(" ").map(Number);
  const [left, top, right, bottom] = svg.dataset.box.split(" ").map(Number);
  const place = Math.min(Math.max(x, left), right), told = [];
  let kimg = null;
  for (const line of svg.querySelectorAll("polyline")) {
    const points = [...line.points];
    if (!points.length) continue;
    const near = points.reduce((a, b) => Math.abs(b.x - place) < Math.abs(a.x - place) ? b : a);
    if (kimg === null) kimg = lowX + (near.x - left) / (right - left) * (highX - lowX);
    const even = lowY + (bottom - near.y) / (bottom - top) * (highY - lowY);
    const value = svg.dataset.least ? 10 ** even : even;
    told.push(line.dataset.label + " " + short(value));
  }
  if (kimg === null) return;
  svg.parentElement.querySelector(".readout").textContent = "at " + short(kimg) + " kimg: " + told.join(", ");
  let cursor = svg.querySelector(".cursor");
  if (!cursor) {
    cursor = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
    cursor.setAttribute("class", "cursor");
  }
  cursor.setAttribute("d", "M" + place + " " + top + "V" + bottom);
  svg.dataset.at = place;
}
document.addEventListener("pointermove", (event) => {
  const svg = event.target.closest("svg.chart");
  if (!svg) return;
  const box = svg.getBoundingClientRect();
  tell(svg, (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width);
});
document.addEventListener("keydown", (event) => {
  const svg = event.target.closest("svg.chart"), step = { ArrowLeft: -8, ArrowRight: 8 }[event.key];
  if (!svg || !step) return;
  event.preventDefault();
  tell(svg, Number(svg.dataset.at || svg.dataset.box.split(" ")[2]) + step);
});
// A page that follows a run: what has changed is put in place every two seconds.
const live = document.getElementById("live");
async function follow() {
  const said = document.getElementById("link");
  try {
    const answer = await fetch("/live", { cache: "no-store" });
    const text = await answer.text();
    if (answer.ok && text !== follow.last) {
      const focused = [...live.querySelectorAll("svg.chart")].indexOf(document.activeElement);
      live.innerHTML = text;
      if (focused >= 0) live.querySelectorAll("svg.chart")[focused]?.focus();
      follow.last = text;
    }
    said.textContent = answer.ok ? "Following the run." : "The run folder cannot be read.";
  } catch {
    said.textContent = "gan-transfer watch has ended.";
  }
  setTimeout(follow, 2000);
}
if (live) follow();
