/**
 * The box on the preview: the part of the image that the model sees. It keeps the proportions of the image, since the
 * model squashes whatever it gets to one shape, and learned from whole frames.
 */

import { find } from "./page.js";

const SHOWN_SIDE = 1200; // pixels of the preview's longer side
const SMALLEST_SHARE = 0.1; // of the image's sides
const STEP = 0.05; // of the box's sides, for a key
const ZOOM = 1.2;

export class Crop {
  #preview = find("preview", HTMLCanvasElement);
  #box = find("crop", HTMLElement);
  #frame = find("frame", HTMLElement);
  #changed;
  #part = { x: 0, y: 0, share: 1 }; // of the image's sides

  /** @param {() => void} changed is called whenever the visitor has moved the box */
  constructor(changed) {
    this.#changed = changed;
    find("closer", HTMLElement).addEventListener("click", () => this.#zoom(1 / ZOOM));
    find("wider", HTMLElement).addEventListener("click", () => this.#zoom(ZOOM));
    find("whole", HTMLElement).addEventListener("click", () => this.#place(0, 0, 1));
    this.#box.addEventListener("keydown", (event) => this.#key(event));
    this.#frame.addEventListener("pointerdown", (event) => this.#drag(event));
  }

  /** @param {ImageBitmap} image */
  show(image) {
    const scale = SHOWN_SIDE / Math.max(image.width, image.height);
    this.#preview.width = Math.max(1, Math.round(image.width * scale));
    this.#preview.height = Math.max(1, Math.round(image.height * scale));
    this.#preview.getContext("2d")?.drawImage(image, 0, 0, this.#preview.width, this.#preview.height);
    this.#set(0, 0, 1);
  }

  /**
   * @param {ImageBitmap} image
   * @returns {Box} whole pixels of it
   */
  box(image) {
    const { x, y, share } = this.#part;
    const width = Math.max(1, Math.round(image.width * share));
    const height = Math.max(1, Math.round(image.height * share));
    return {
      x: Math.min(Math.round(image.width * x), image.width - width),
      y: Math.min(Math.round(image.height * y), image.height - height),
      width,
      height,
    };
  }

  /** @param {number} factor */
  #zoom(factor) {
    const { x, y, share } = this.#part;
    const wanted = Math.min(1, Math.max(SMALLEST_SHARE, share * factor));
    this.#place(x + (share - wanted) / 2, y + (share - wanted) / 2, wanted);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const { x, y, share } = this.#part;
    const step = STEP * share;
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowLeft: () => this.#place(x - step, y, share),
      ArrowRight: () => this.#place(x + step, y, share),
      ArrowUp: () => this.#place(x, y - step, share),
      ArrowDown: () => this.#place(x, y + step, share),
      "+": () => this.#zoom(1 / ZOOM),
      "-": () => this.#zoom(ZOOM),
      0: () => this.#place(0, 0, 1),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  }

  /**
   * A drag that starts inside a box moves it; any other draws a box.
   *
   * @param {PointerEvent} event
   */
  #drag(event) {
    if (event.button !== 0) return;
    const bounds = this.#frame.getBoundingClientRect();
    const at = (/** @type {PointerEvent} */ { clientX, clientY }) => ({
      x: (clientX - bounds.left) / bounds.width,
      y: (clientY - bounds.top) / bounds.height,
    });
    const start = at(event);
    const before = { ...this.#part };
    const moves = before.share < 1 && event.target === this.#box;
    const follow = (/** @type {PointerEvent} */ moved) => {
      const end = at(moved);
      const across = end.x - start.x;
      const down = end.y - start.y;
      if (moves) {
        this.#place(before.x + across, before.y + down, before.share);
        return;
      }
      const share = Math.max(Math.abs(across), Math.abs(down));
      if (share < SMALLEST_SHARE) return; // a click, or a hand that trembles
      this.#place(across < 0 ? start.x - share : start.x, down < 0 ? start.y - share : start.y, share);
    };
    const stop = () => {
      this.#frame.removeEventListener("pointermove", follow);
      this.#frame.removeEventListener("pointerup", stop);
      this.#frame.removeEventListener("pointercancel", stop);
    };
    this.#frame.setPointerCapture(event.pointerId);
    this.#frame.addEventListener("pointermove", follow);
    this.#frame.addEventListener("pointerup", stop);
    this.#frame.addEventListener("pointercancel", stop);
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {number} share
   */
  #place(x, y, share) {
    const before = this.#part;
    this.#set(x, y, share);
    const { x: left, y: top, share: part } = this.#part;
    if (left !== before.x || top !== before.y || part !== before.share) this.#changed();
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {number} share
   */
  #set(x, y, share) {
    const inside = (/** @type {number} */ value) => Math.min(Math.max(value, 0), 1 - share);
    this.#part = { x: inside(x), y: inside(y), share };
    const style = this.#box.style;
    style.left = `${100 * this.#part.x}%`;
    style.top = `${100 * this.#part.y}%`;
    style.width = style.height = `${100 * share}%`;
    this.#box.classList.toggle("is-whole", share === 1);
  }
}
