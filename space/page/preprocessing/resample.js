/**
 * Resizing as Pillow does it for 8-bit images, equal in every pixel: a port of its `Resample.c`.
 *
 * Each output pixel is a weighted mean of input pixels. The weights are integers of 22 fractional bits. Rows and columns
 * are resized in two passes, and the values between them are bytes again.
 */

const PRECISION_BITS = 22;
const ROWS_AT_ONCE = 64;

/** @type {Record<string, {support: number, weight: (x: number) => number}>} */
export const FILTERS = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: { support: 1, weight: hamming },
  bicubic: { support: 2, weight: cubic },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** @param {number} x */
function cubic(x) {
  const a = -0.5;
  x = Math.abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

/** @param {number} x */
function sinc(x) {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** @param {number} x */
function hamming(x) {
  x = Math.abs(x);
  return x < 1 ? sinc(x) * (0.54 + 0.46 * Math.cos(x * Math.PI)) : 0;
}

/**
 * For each output pixel, which input pixels it is made of, and their weights.
 *
 * @param {number} from pixels of the input
 * @param {number} to pixels of the output
 * @param {string} filter a key of FILTERS
 * @returns {{start: number, weights: Int32Array}[]}
 */
function contributions(from, to, filter) {
  const { support, weight } = FILTERS[filter];
  const scale = from / to;
  const stretch = Math.max(scale, 1); // when an image grows, the filter keeps its size
  const reach = support * stretch;
  return Array.from({ length: to }, (_, pixel) => {
    const center = (pixel + 0.5) * scale;
    const start = Math.max(Math.trunc(center - reach + 0.5), 0);
    const end = Math.min(Math.trunc(center + reach + 0.5), from);
    const values = new Float64Array(end - start);
    let sum = 0;
    for (let i = 0; i < values.length; i++) {
      values[i] = weight((i + start - center + 0.5) * (1 / stretch));
      sum += values[i];
    }
    const fixed = (/** @type {number} */ value) => {
      const scaled = (sum === 0 ? value : value / sum) * (1 << PRECISION_BITS);
      return Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    };
    return { start, weights: Int32Array.from(values, fixed) };
  });
}

/**
 * One pass, along rows or columns: output pixel (line, n) is a weighted sum of input pixels (line, start...).
 *
 * @param {Uint8Array | Uint8ClampedArray} input
 * @param {{line: number, step: number}} inputStride between lines, and between pixels of a line
 * @param {Uint8ClampedArray} output RGB
 * @param {{line: number, step: number}} outputStride
 * @param {number} lines
 * @param {{start: number, weights: Int32Array}[]} parts
 */
function pass(input, inputStride, output, outputStride, lines, parts) {
  const half = 1 << (PRECISION_BITS - 1);
  for (let n = 0; n < parts.length; n++) {
    const { start, weights } = parts[n];
    for (let line = 0; line < lines; line++) {
      let from = line * inputStride.line + start * inputStride.step;
      let red = half;
      let green = half;
      let blue = half;
      for (let i = 0; i < weights.length; i++, from += inputStride.step) {
        red += input[from] * weights[i];
        green += input[from + 1] * weights[i];
        blue += input[from + 2] * weights[i];
      }
      const to = line * outputStride.line + n * outputStride.step;
      output[to] = red >> PRECISION_BITS; // the array clamps to 0..255
      output[to + 1] = green >> PRECISION_BITS;
      output[to + 2] = blue >> PRECISION_BITS;
    }
  }
}

/**
 * @param {(top: number, rows: number) => Uint8ClampedArray} read gives RGBA rows of the input
 * @param {{width: number, height: number}} size of the input
 * @param {{width: number, height: number}} wanted
 * @param {string} filter a key of FILTERS
 * @returns {Uint8ClampedArray} RGB, row by row
 */
export function resize(read, size, wanted, filter) {
  const columns = contributions(size.width, wanted.width, filter);
  const rows = contributions(size.height, wanted.height, filter);
  const output = new Uint8ClampedArray(wanted.height * wanted.width * 3);
  const line = wanted.width * 3; // bytes
  if (wanted.width > size.width && wanted.height < size.height) {
    // As Pillow since 13: where rows grow and columns shrink, the columns come first.
    const low = new Uint8ClampedArray(wanted.height * size.width * 3);
    const lowLine = size.width * 3;
    const all = read(0, size.height);
    pass(all, { line: 4, step: size.width * 4 }, low, { line: 3, step: lowLine }, size.width, rows);
    pass(low, { line: lowLine, step: 3 }, output, { line, step: 3 }, wanted.height, columns);
    return output;
  }
  const narrow = new Uint8ClampedArray(size.height * line);
  // In strips, so that a large photograph is never in memory twice.
  for (let top = 0; top < size.height; top += ROWS_AT_ONCE) {
    const count = Math.min(ROWS_AT_ONCE, size.height - top);
    const strip = narrow.subarray(top * line, (top + count) * line);
    pass(read(top, count), { line: size.width * 4, step: 4 }, strip, { line, step: 3 }, count, columns);
  }
  pass(narrow, { line: 3, step: line }, output, { line: 3, step: line }, wanted.width, rows);
  return output;
}
