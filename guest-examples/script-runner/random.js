// Math.random: each run has a random seed of its own. QuickJS's own state was frozen when the
// component was built, so its numbers would be the same in each run.
import { getRandomBytes } from 'wasi:random/random@0.2.0';

let state;
const rotated = (value, bits) => (value << bits) | (value >>> (32 - bits));

/** xoshiro128**, by its published definition. */
function next() {
  const drawn = Math.imul(rotated(Math.imul(state[1], 5), 7), 9);
  const shifted = state[1] << 9;
  state[2] ^= state[0];
  state[3] ^= state[1];
  state[1] ^= state[2];
  state[0] ^= state[3];
  state[2] ^= shifted;
  state[3] = rotated(state[3], 11);
  return drawn >>> 0;
}

Math.random = function random() {
  // At the first use: the numbers cost the host system calls.
  state ??= new Int32Array(new Uint8Array(getRandomBytes(16)).buffer);
  return ((next() >>> 5) * 67108864 + (next() >>> 6)) / 9007199254740992;
};
