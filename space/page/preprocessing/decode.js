/** From a file to an image, or to the reason why not, in a form that a visitor can act on. */

import { readHeader } from "./header.js";

const HEADER_BYTES = 1 << 20; // a JPEG keeps its size behind thumbnails and color profiles
const MOST_PIXELS = 64e6; // four bytes each once decoded; what a phone's browser may still hold
const SMALLEST_SIDE = 32; // pixels; less shows no lesion
const STILL = ["jpeg", "png", "webp", "gif", "bmp", "avif", "heic"]; // a browser may know the last two

/** A file that the page can't use. `reason` is a key of the strings below `refused`. */
export class Refused extends Error {
  /**
   * @param {string} reason
   * @param {Record<string, number>} [values] that the string names
   */
  constructor(reason, values = {}) {
    super(reason);
    this.reason = reason;
    this.values = values;
  }
}

/**
 * The upright image in a file, with the very pixels that are stored in it: a color profile is not applied, since the
 * model's own preprocessing does not apply it either.
 *
 * @param {Blob} file
 * @returns {Promise<ImageBitmap>} to be closed by whoever takes it
 * @throws {Refused}
 */
export async function decode(file) {
  if (file.size === 0) throw new Refused("empty");
  const header = readHeader(new DataView(await file.slice(0, HEADER_BYTES).arrayBuffer()));
  check(header, file);
  let image;
  try {
    image = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new Refused(header.format === "heic" ? "heic" : header.format === "avif" ? "unknown" : "broken");
  }
  if (Math.min(image.width, image.height) < SMALLEST_SIDE || image.width * image.height > MOST_PIXELS) {
    image.close();
    throw tooSmallOrLarge(image.width, image.height);
  }
  return image;
}

/**
 * Refuses what need not be decoded to be refused.
 *
 * @param {import("./header.js").Header} header
 * @param {Blob} file
 */
function check({ format, width, height, animated }, file) {
  if (format === "svg" || format === "tiff") throw new Refused(format);
  if (format === "unknown") throw new Refused(file.type === "image/heic" ? "heic" : "unknown");
  if (!STILL.includes(format)) throw new Refused("unknown");
  if (animated) throw new Refused("animated");
  if (width === undefined || height === undefined) return; // seen after decoding
  if (Math.min(width, height) < SMALLEST_SIDE || width * height > MOST_PIXELS) throw tooSmallOrLarge(width, height);
}

/**
 * @param {number} width
 * @param {number} height
 */
function tooSmallOrLarge(width, height) {
  const small = Math.min(width, height) < SMALLEST_SIDE;
  const values = { width, height, side: SMALLEST_SIDE, megapixels: (width * height) / 1e6, most: MOST_PIXELS / 1e6 };
  return new Refused(small ? "small" : "large", values);
}
