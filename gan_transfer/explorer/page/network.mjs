// The generator: latents in, pictures out, one after the other.
import * as ort from "./runtime/ort.wasm.bundle.min.mjs";
import { latent, slerp } from "./random.mjs";

ort.env.wasm.numThreads = 1; // more would need headers that a plain web server does not send
ort.env.logLevel = "error";

// What a page draws with: `about` is what explorer.json says.
export async function open(about) {
  const session = await ort.InferenceSession.create("generator.onnx", { executionProviders: ["wasm"] });
  let last = Promise.resolve();
  const run = async (view) => {
    const z = new ort.Tensor("float32", point(about, view), [1, about.latent_dim]);
    return toImage((await session.run({ z })).image, about);
  };
  return (view) => (last = last.then(() => run(view), () => run(view)));
}

// The latent of a view: a place between two seeds, and steps along the directions.
export function point(about, { from, to, at, moves }) {
  const start = latent(from, about.latent_dim);
  const z = at === 0 ? start : slerp(start, latent(to, about.latent_dim), at);
  moves.forEach((step, k) => about.directions[k].forEach((value, i) => (z[i] += step * value)));
  return z;
}

// [1, C, H, W] in [-1, 1] -> ImageData.
function toImage(picture, { resolution, channels }) {
  const image = new ImageData(resolution, resolution), area = resolution * resolution;
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = Math.round(picture.data[(c % channels) * area + i] * 127.5 + 127.5);
    image.data[4 * i + 3] = 255;
  }
  return image;
}
