/**
 * What the answer depends on: by how much the probability of the first diagnosis falls when a part is covered
 * (Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks").
 */

const POSITIONS = 7; // of the cover, along each side
const COVER = 2 / (POSITIONS + 1); // its side, as a share of the image's: neighbors overlap by half
const MARK = [0, 190, 255]; // a color that neither skin nor lesions have

/**
 * @param {{values: Float32Array<ArrayBuffer>, width: number, height: number}} pixels
 * @param {(pixels: {values: Float32Array<ArrayBuffer>, width: number, height: number}) => Promise<number[]>} ask
 * @param {number} label
 * @param {number} before its probability, with nothing covered
 * @param {(done: number, total: number) => boolean} proceed is told the progress; false stops
 * @returns {Promise<number[][] | null>} the mean fall for each cell of a grid, rows first; null where it was stopped
 */
export async function occlude(pixels, ask, label, before, proceed) {
  const cells = POSITIONS + 1;
  const fall = Array.from({ length: cells }, () => new Array(cells).fill(0));
  const covers = Array.from({ length: cells }, () => new Array(cells).fill(0));
  const total = POSITIONS ** 2;
  for (let position = 0; position < total; position++) {
    if (!proceed(position, total)) return null;
    const row = Math.floor(position / POSITIONS);
    const column = position % POSITIONS;
    const answer = await ask(covered(pixels, row / cells, column / cells));
    for (const [down, across] of [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ]) {
      fall[row + down][column + across] += before - answer[label];
      covers[row + down][column + across] += 1;
    }
  }
  return proceed(total, total) ? fall.map((line, row) => line.map((sum, column) => sum / covers[row][column])) : null;
}

/**
 * A copy with a square in the image's own mean color.
 *
 * @param {{values: Float32Array<ArrayBuffer>, width: number, height: number}} pixels
 * @param {number} top as a share of the height
 * @param {number} left as a share of the width
 */
function covered({ values, width, height }, top, left) {
  const copy = values.slice();
  const area = width * height;
  const rows = [Math.round(top * height), Math.round((top + COVER) * height)];
  const columns = [Math.round(left * width), Math.round((left + COVER) * width)];
  for (let channel = 0; channel < values.length / area; channel++) {
    const plane = copy.subarray(channel * area, (channel + 1) * area);
    const mean = plane.reduce((sum, value) => sum + value, 0) / area;
    for (let row = rows[0]; row < rows[1]; row++) plane.fill(mean, row * width + columns[0], row * width + columns[1]);
  }
  return { values: copy, width, height };
}

/**
 * Draws the falls over a part of the preview, the largest one opaque.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {{width: number, height: number}} size of the image, in any unit
 * @param {Box} box in the same unit
 * @param {number[][]} fall
 */
export function drawMap(canvas, size, box, fall) {
  const cells = fall.length;
  const largest = Math.max(...fall.flat());
  const small = new OffscreenCanvas(cells, cells);
  const image = new ImageData(cells, cells);
  for (const [at, value] of fall.flat().entries()) {
    image.data.set([...MARK, Math.round(200 * Math.max(0, value / largest))], 4 * at);
  }
  small.getContext("2d")?.putImageData(image, 0, 0);
  const scale = 800 / Math.max(size.width, size.height);
  canvas.width = Math.round(size.width * scale);
  canvas.height = Math.round(size.height * scale);
  const context = canvas.getContext("2d");
  if (!context) return;
  context.imageSmoothingQuality = "high";
  context.drawImage(small, box.x * scale, box.y * scale, box.width * scale, box.height * scale);
}
