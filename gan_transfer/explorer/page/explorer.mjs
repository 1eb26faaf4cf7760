// The explorer's page: what is set, what is drawn of it, what is kept.
import { load, sheet, store } from "./favourites.mjs";
import { open } from "./network.mjs";

const REACH = 5; // of a slider to either side, standard deviations
const WAY_SECONDS = 4; // from one seed to the other in play
const find = (id) => document.getElementById(id);

let about, draw, view, favourites, moving = false, playing = false;

async function begin() {
  const answer = await fetch("explorer.json");
  if (!answer.ok) throw new Error(`explorer.json: ${answer.status} ${answer.statusText}`);
  about = await answer.json();
  tellFacts();
  draw = await open(about);
  view = { from: 0, to: 1, at: 0, moves: about.directions.map(() => 0) };
  find("directions").append(...about.directions.map(directionRow));
  connect();
  favourites = load(about).map((kept) => ({ view: kept }));
  find("main").inert = false;
  find("status").textContent = "";
  await show();
  await showEnds();
  await showFavourites();
}

function tellFacts() {
  const { pair, kimg, resolution, channels, latent_dim } = about;
  const clock = kimg === null ? "" : `, ${kimg} kimg`;
  find("facts").textContent =
    `${pair}: ${resolution}×${resolution} ${channels === 1 ? "grey" : "colour"}, ${latent_dim} latent values${clock}`;
  document.title = `${pair} · Latent explorer`;
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function paint(canvas, image) {
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d", { willReadFrequently: true }).putImageData(image, 0, 0); // small: kept in memory
}

// A slider between the pictures at its ends.
function directionRow(_, k) {
  const share = `${(100 * about.shares[k]).toFixed(1)} %`;
  const input = element("input", { type: "range", id: `move${k}`, min: -REACH, max: REACH, step: 0.1, value: 0 });
  const label = element("label", { htmlFor: input.id, textContent: `Direction ${k + 1}` });
  label.title = `${share} of the variance of the first block's activations`;
  const ends = [0, 1].map(() => {
    const canvas = element("canvas", { width: about.resolution, height: about.resolution });
    canvas.setAttribute("aria-hidden", "true");
    return canvas;
  });
  input.addEventListener("input", () => {
    view.moves[k] = input.valueAsNumber;
    show();
  });
  const name = element("div", { className: "name" }, label, element("output", { id: `moved${k}`, textContent: "0.0" }));
  return element("li", {}, ends[0], element("div", {}, name, input), ends[1]);
}

// Draw what is set; while a picture is being drawn, only the newest wish waits.
async function show() {
  tellView();
  if (moving) return void (moving = "again");
  do {
    moving = true;
    const drawn = structuredClone(view), image = await draw(drawn);
    paint(find("picture"), image);
    find("picture").setAttribute("aria-label", `Generated picture: ${words(drawn)}`);
  } while (moving === "again");
  moving = false;
}

function tellView() {
  find("from").value = view.from;
  find("to").value = view.to;
  find("at").value = view.at;
  find("at").setAttribute("aria-valuetext", `${Math.round(100 * view.at)} % from seed ${view.from} to seed ${view.to}`);
  view.moves.forEach((step, k) => {
    find(`move${k}`).value = step;
    find(`moved${k}`).textContent = step.toFixed(1);
  });
  find("caption").textContent = words(view);
}

function words({ from, to, at, moves }) {
  const seeds = at === 0 ? `seed ${from}` : at === 1 ? `seed ${to}` : `${Math.round(100 * at)} % from seed ${from} to ${to}`;
  const steps = moves.flatMap((step, k) => (step ? [`direction ${k + 1} at ${step.toFixed(1)}`] : []));
  return [seeds, ...steps].join(", ");
}

// The pictures at the ends of all sliders, for the seeds alone; given up when other seeds come.
let wanted = 0;
async function showEnds() {
  const mine = ++wanted, rows = [...find("directions").children];
  for (const [k, row] of rows.entries()) {
    for (const [end, canvas] of row.querySelectorAll("canvas").entries()) {
      const moves = about.directions.map((_, i) => (i === k ? (end ? REACH : -REACH) : 0));
      const image = await draw({ ...view, moves });
      if (mine !== wanted) return;
      paint(canvas, image);
      await new Promise((resume) => setTimeout(resume)); // the page answers in between
    }
  }
}

function change(values) {
  Object.assign(view, values);
  return show();
}

function changeSeeds(values) {
  change(values);
  if (!playing) showEnds();
}

function connect() {
  find("random").addEventListener("click", () => changeSeeds({ from: Math.floor(Math.random() * 1e6), at: 0 }));
  for (const id of ["from", "to"]) {
    find(id).addEventListener("change", () => {
      const seed = find(id).valueAsNumber;
      changeSeeds(find(id).validity.valid && Number.isInteger(seed) ? { [id]: seed } : {});
    });
  }
  find("at").addEventListener("input", () => change({ at: find("at").valueAsNumber }));
  find("at").addEventListener("change", showEnds);
  find("play").addEventListener("click", play);
  find("reset").addEventListener("click", () => change({ moves: view.moves.map(() => 0) }));
  find("keep").addEventListener("click", keep);
  find("save").addEventListener("click", () => save(find("picture"), `${fileName(view)}.png`));
  find("sheet").addEventListener("click", () => save(sheet(favourites.map(({ image }) => image)), "favourites.png"));
  find("clear").addEventListener("click", () => setFavourites([]));
}

// Go to and fro between the two seeds until the button is pressed again.
async function play() {
  playing = !playing;
  find("play").setAttribute("aria-pressed", playing);
  find("play").textContent = playing ? "Stop" : "Play";
  find("caption").ariaLive = playing ? "off" : "polite";
  if (!playing) return;
  let phase = view.at, before = performance.now();
  while (playing) {
    const now = await new Promise(requestAnimationFrame);
    phase = (phase + Math.max(0, now - before) / 1000 / WAY_SECONDS) % 2;
    before = now;
    await change({ at: Math.round(100 * (phase > 1 ? 2 - phase : phase)) / 100 });
  }
  showEnds();
}

async function keep() {
  await setFavourites([...favourites, { view: structuredClone(view) }]);
}

async function setFavourites(kept) {
  favourites = kept;
  const stays = store(about, kept.map((one) => one.view));
  find("status").textContent = stays ? "" : "This browser keeps nothing: favourites last until the page is closed.";
  await showFavourites();
}

async function showFavourites() {
  const mine = favourites;
  for (const one of mine) one.image ??= await draw(one.view);
  if (mine !== favourites) return;
  find("favourites").replaceChildren(...mine.map(favourite));
  find("empty").hidden = mine.length > 0;
  find("sheet").disabled = find("clear").disabled = mine.length === 0;
}

function favourite(one) {
  const canvas = element("canvas");
  paint(canvas, one.image);
  const shown = element("button", { className: "show", ariaLabel: `Show again: ${words(one.view)}` }, canvas);
  shown.addEventListener("click", () => changeSeeds(structuredClone(one.view)));
  const remove = element("button", { className: "remove", textContent: "Remove" });
  remove.ariaLabel = `Remove ${words(one.view)}`;
  remove.addEventListener("click", () => setFavourites(favourites.filter((other) => other !== one)));
  return element("li", {}, shown, remove);
}

// `seed0003`, as `gan-transfer sample` calls it, and what was done to it.
function fileName({ from, to, at, moves }) {
  const seed = (number) => String(number).padStart(4, "0");
  const place = at === 0 ? seed(from) : at === 1 ? seed(to) : `${seed(from)}-${seed(to)}-${Math.round(100 * at)}`;
  const steps = moves.flatMap((step, k) => (step ? [`d${k + 1}_${step.toFixed(1)}`] : []));
  return ["seed" + place, ...steps].join("-");
}

function save(canvas, name) {
  canvas.toBlob((blob) => {
    const link = element("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }, "image/png");
}

begin().catch((error) => {
  find("status").className = "fault";
  find("status").textContent = `The generator does not run here: ${error.message ?? error}. `
    + "It needs a browser with WebAssembly, and the whole folder, served: python -m http.server";
});
