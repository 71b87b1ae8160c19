/** The ways in which an image comes: chosen, photographed, dropped, pasted, or a sample. */

import { find } from "./page.js";
import { Refused } from "./preprocessing/decode.js";
import { element, fill, STRINGS } from "./strings.js";

/**
 * @param {(file: Blob) => void} take
 * @param {(refused: Refused) => void} refuse
 */
export function listen(take, refuse) {
  const one = (/** @type {Iterable<File> | null | undefined} */ files) => {
    const given = [...(files ?? [])];
    if (given.length === 1) take(given[0]);
    else refuse(new Refused(given.length ? "several" : "nothing"));
  };
  for (const id of ["file", "camera"]) {
    const input = find(id, HTMLInputElement);
    input.addEventListener("change", () => {
      one(input.files);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  const drop = find("drop", HTMLElement);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    one(event.dataTransfer?.files);
  });
  document.addEventListener("paste", (event) => one(event.clipboardData?.files));
}

/**
 * @param {Blob[]} samples
 * @param {(file: Blob) => void} take
 */
export function showSamples(samples, take) {
  const buttons = samples.map((image, at) => {
    const picture = element("img");
    picture.src = URL.createObjectURL(image); // kept while the page is open
    picture.alt = "";
    const button = element("button", "sample", picture);
    button.type = "button";
    button.title = fill(STRINGS.sample, { number: at + 1 });
    button.setAttribute("aria-label", button.title);
    button.addEventListener("click", () => take(image));
    return button;
  });
  find("samples", HTMLElement).replaceChildren(...buttons);
  find("samples-part", HTMLElement).hidden = samples.length === 0;
}
