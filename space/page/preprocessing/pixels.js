/** From a part of an image to what the model takes: resized, cropped and normalized as the model's processor does it. */

import { resize } from "./resample.js";

/**
 * @param {ImageBitmap} image
 * @param {Box} box the part of it that the model is to see
 * @param {Preprocessing} how
 * @returns {{values: Float32Array<ArrayBuffer>, width: number, height: number}} values (3, height, width)
 */
export function prepare(image, box, how) {
  const resized = resize(reader(image, box), box, how, how.filter);
  const { width, height } = how.crop ?? how;
  const left = Math.floor((how.width - width) / 2);
  const top = Math.floor((how.height - height) / 2);
  const values = new Float32Array(3 * width * height);
  for (let channel = 0, i = 0; channel < 3; channel++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        values[i] = how.levels[channel][resized[((y + top) * how.width + x + left) * 3 + channel]];
      }
    }
  }
  return { values, width, height };
}

/**
 * Reads rows of a part of an image, through a canvas that is no larger than they are.
 *
 * @param {ImageBitmap} image
 * @param {Box} box
 * @returns {(top: number, rows: number) => Uint8ClampedArray} RGBA
 */
function reader(image, box) {
  return (top, rows) => {
    const canvas = new OffscreenCanvas(box.width, rows);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    if (!context) throw new Error("no canvas to read the image with");
    context.fillStyle = "white"; // below what is transparent
    context.fillRect(0, 0, box.width, rows);
    context.drawImage(image, -box.x, -box.y - top);
    return context.getImageData(0, 0, box.width, rows).data;
  };
}
