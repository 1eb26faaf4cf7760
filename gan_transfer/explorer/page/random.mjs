// The latent of a seed, as `gan-transfer sample` draws it: NumPy's `RandomState(seed).randn`, whose stream never changes.

// The Mersenne Twister of Matsumoto and Nishimura 1998: a function to the next 32 bits.
function twister(seed) {
  const state = new Uint32Array(624);
  state[0] = seed;
  for (let i = 1; i < 624; i++) {
    state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  }
  let next = 624;
  return () => {
    if (next === 624) {
      for (let i = 0; i < 624; i++) {
        const bits = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
        state[i] = state[(i + 397) % 624] ^ (bits >>> 1) ^ (bits & 1 ? 0x9908b0df : 0);
      }
      next = 0;
    }
    let bits = state[next++];
    bits ^= bits >>> 11;
    bits ^= (bits << 7) & 0x9d2c5680;
    bits ^= (bits << 15) & 0xefc60000;
    return (bits ^ (bits >>> 18)) >>> 0;
  };
}

// float32 [length] from N(0, I), by the polar method of Marsaglia, which gives two numbers at a time.
export function latent(seed, length) {
  const bits = twister(seed);
  const uniform = () => ((bits() >>> 5) * 67108864 + (bits() >>> 6)) / 9007199254740992;
  const numbers = [];
  while (numbers.length < length) {
    const x = 2 * uniform() - 1, y = 2 * uniform() - 1, square = x * x + y * y;
    if (square >= 1 || square === 0) continue;
    const scale = Math.sqrt((-2 * Math.log(square)) / square);
    numbers.push(scale * y, scale * x);
  }
  return Float32Array.from(numbers.slice(0, length));
}

// Along the great arc from a to b, the length going with the angle: latents lie on a sphere, not on the straight line.
export function slerp(a, b, t) {
  const dot = (u, v) => u.reduce((sum, value, i) => sum + value * v[i], 0);
  const lengths = Math.sqrt(dot(a, a) * dot(b, b));
  const angle = Math.acos(Math.min(1, Math.max(-1, dot(a, b) / Math.max(lengths, 1e-12))));
  const straight = angle < 1e-4 || angle > Math.PI - 1e-4;
  const from = straight ? 1 - t : Math.sin((1 - t) * angle) / Math.sin(angle);
  const to = straight ? t : Math.sin(t * angle) / Math.sin(angle);
  return a.map((value, i) => from * value + to * b[i]);
}
