// Favourites: views kept in the browser for this generator, and their pictures as one sheet.

const GAP = 2; // pixels between two pictures of a sheet, as in `gan-transfer sample`

const isSeed = (value) => Number.isInteger(value) && value >= 0 && value < 2 ** 32;

// Whether something from the storage, where anybody may write, is a view of this generator.
function isView(view, count) {
  return view !== null && typeof view === "object" && isSeed(view.from) && isSeed(view.to)
    && view.at >= 0 && view.at <= 1 && Array.isArray(view.moves) && view.moves.length === count
    && view.moves.every(Number.isFinite);
}

export function load(about) {
  try {
    const kept = JSON.parse(localStorage.getItem(key(about))) ?? [];
    return kept.filter((view) => isView(view, about.directions.length));
  } catch {
    return [];
  }
}

// Whether they are kept beyond this visit: a browser may forbid that.
export function store(about, views) {
  try {
    localStorage.setItem(key(about), JSON.stringify(views));
    return true;
  } catch {
    return false;
  }
}

export function sheet(images) {
  const side = images[0].width, columns = Math.ceil(Math.sqrt(images.length)), rows = Math.ceil(images.length / columns);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns * (side + GAP) - GAP, rows * (side + GAP) - GAP];
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  images.forEach((image, k) => context.putImageData(image, (k % columns) * (side + GAP), Math.floor(k / columns) * (side + GAP)));
  return canvas;
}

function key(about) {
  return `gan-transfer explorer ${about.sha256}`;
}
