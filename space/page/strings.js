/**
 * Every text of the page, in one place: for another language, translate the values. `{name}` is filled in.
 * What the model's own files say (names of diagnoses and metrics, numbers) comes from `model-HASH.json`.
 */

export const LANGUAGE = "en";

export const STRINGS = {
  title: "Skin lesion classifier",
  lead: "See what a research model says about a dermatoscopic image. It runs in this browser: the image never leaves your device.",
  research: "For research only",
  not_a_diagnosis: "Not a medical device, and not a diagnosis. If a lesion worries you, show it to a physician.",

  choose_heading: "Your image",
  drop: "Drop a dermatoscopic image here, or paste one",
  choose: "Choose an image",
  photograph: "Take a photo",
  formats: "JPEG, PNG or WebP. One lesion, filling most of the frame.",
  samples: "Or try a synthetic sample. A program drew it to show how the page works; the answer means nothing.",
  sample: "Synthetic sample {number}",

  crop_label: "Part of the image that the model sees",
  crop_role: "crop box",
  crop_help:
    "Drag on the image to choose the part that the model sees. With the keyboard: arrow keys move it, + and − resize it, 0 takes the whole image.",
  closer: "Closer",
  wider: "Wider",
  whole: "Whole image",
  preview: "The image that you chose",

  answer_heading: "Answer",
  loading_label: "Download of the model",
  loading: "Loading the model: {done} of {total} MB",
  starting: "Starting the model",
  locked: "The model is here, and this page has cut itself off the network.",
  waiting: "Choose an image, and the answer appears here.",
  thinking: "Looking at the image",
  ranked: "Diagnoses by probability",
  malignant: "malignant",
  announce: "Most probable: {name}, {share}. {decision}",
  bin: "Of {n} test images that got {low} to {high} for their first diagnosis, it was right for {right}.",

  held: "Can't rule out: {names}. For images like the training images, this list holds the diagnosis of {share} of the lesions.",
  unfamiliar: "This image is unlike the images that the model was trained on. Don't trust the answer.",
  unfamiliar_short: "Unlike the training images: don't trust this answer.",

  decision_heading: "{target} or not",
  targets: { malignant: "Malignant", melanoma: "Melanoma" },
  point_label: "Operating point, by what its threshold was chosen for",
  aims: { sensitivity: "{level} sensitivity", specificity: "{level} specificity" },
  point: "{target}, {aim}",
  yes: "Above the threshold",
  no: "Below the threshold",
  decision: "{names}: {score} together. The threshold is {threshold}.",
  decision_short: "{target} or not: {answer}.",
  sensitivity: "Sensitivity",
  specificity: "Specificity",
  ppv: "PPV at {prevalence} prevalence",
  npv: "NPV at {prevalence} prevalence",
  point_measured:
    "Measured on {images} images, {cases} of them cases; {level} intervals in brackets. The threshold was chosen on other images, so these differ from what it was chosen for.",
  point_unmeasured: "This operating point has not been measured on test images.",
  no_points: "The model's files hold no threshold for malignant or not, so the page gives none.",

  occlusion: "Show what the answer depends on",
  occlusion_stop: "Stop",
  occlusion_hide: "Hide the map",
  occlusion_progress: "Covering part {done} of {total}",
  occlusion_legend:
    "Covering the marked parts lowers the probability of {name}, by up to {drop}. The map tells about the model, not about the lesion.",
  occlusion_nothing: "Covering any single part changes the probability of {name} by less than {drop}.",

  facts_heading: "About the model",
  facts_model: "Model",
  facts_parameters: "{name}, {parameters} parameters",
  facts_trained: "Trained on",
  facts_trained_on: "{title}, {images} images",
  facts_trained_lesions: "{title}, {images} images of {lesions} lesions",
  facts_synthetic: "{title}, lesions drawn by a program: the model knows nothing about skin",
  facts_measured: "Measured on",
  facts_measured_on: "{dataset}, {images} images",
  facts_measured_lesions: "{dataset}, {images} images of {lesions} lesions",
  facts_split: "{dataset}, {split} split",
  facts_unmeasured: "This model has not been measured.",
  facts_intervals: "In brackets: {level} intervals.",
  facts_link: "Weights and model card",
  recall_heading: "How often it finds each diagnosis",
  recall_diagnosis: "Diagnosis",
  recall_images: "Images",
  recall_found: "Found",

  limits_heading: "What it is not",
  limits: [
    "Not for diagnosis, triage or reassurance of any person.",
    "Not for ordinary phone photographs: it has seen dermatoscopic close-ups only.",
    "It knows {count} diagnoses and names one of them for any image, of anything.",
    "How well it does on skin tones, cameras and clinics that it was not measured on is unknown.",
  ],

  privacy_heading: "Where your image goes",
  privacy: [
    "Nowhere. The model came to your browser; the image stays in this tab.",
    "Once the model is loaded, the page forbids itself every connection, and the browser enforces that. Switch off the network and try.",
    "No cookies, no tracker, no account. Files of the page are kept in the browser for your next visit; images are not.",
  ],

  failed: "The model could not be loaded ({reason}). Check the connection and reload the page.",
  failed_answer: "The model could not answer ({reason}). Reload the page and try again.",
  refused: {
    empty: "This file is empty. Please choose an image file.",
    unknown: "This is not an image that the browser can read. Please choose a JPEG, PNG or WebP file.",
    broken: "This image is damaged or incomplete. Please choose another file, or save it again as JPEG.",
    heic: "This browser can't read HEIC photos. Please save the image as JPEG, or set the camera to “Most compatible”.",
    svg: "This is a drawing (SVG), not a photograph. Please choose a JPEG, PNG or WebP file.",
    tiff: "Browsers can't read TIFF images. Please save it as JPEG or PNG.",
    animated: "This is an animation. Please choose a single image.",
    small: "This image has {width} × {height} pixels, too few to show a lesion. It needs {side} on each side.",
    large:
      "This image has {megapixels} megapixels, more than a browser can safely hold. Please shrink it to {most} or fewer.",
    several: "Please give one image at a time.",
    nothing: "There was no image in what you gave.",
  },
};

/**
 * @param {string} text
 * @param {Record<string, string | number>} values numbers are written in the page's language
 */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : (value ?? whole);
  });
}

/**
 * @param {number} value
 * @param {number} [digits] after the point
 */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(LANGUAGE, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(
    value,
  );
}

/**
 * @param {number} share
 * @param {number} [digits] after the point
 */
export function percent(share, digits = 0) {
  const style = {
    style: /** @type {const} */ ("percent"),
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  };
  return new Intl.NumberFormat(LANGUAGE, style).format(share);
}

/** @param {Metric} metric a share, with its interval where it has one */
export function shareWithInterval({ value, low, high }) {
  return percent(value, 1) + (low === null || high === null ? "" : interval(100 * low, 100 * high, 1));
}

/** @param {Metric} metric with its interval where it has one */
export function withInterval({ value, low, high }) {
  return number(value, 3) + (low === null || high === null ? "" : interval(low, high, 3));
}

/**
 * @param {number} low
 * @param {number} high
 * @param {number} digits
 */
function interval(low, high, digits) {
  return ` [${number(low, digits)}–${number(high, digits)}]`;
}

/**
 * A new element.
 *
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {string} [className]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** Fills the texts of index.html: each element with `data-text` gets the string of that name. */
export function fillPage() {
  document.documentElement.lang = LANGUAGE;
  document.title = STRINGS.title;
  for (const place of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-text]"))) {
    place.textContent = /** @type {any} */ (STRINGS)[place.dataset.text ?? ""];
  }
  for (const place of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-label]"))) {
    place.setAttribute("aria-label", /** @type {any} */ (STRINGS)[place.dataset.label ?? ""]);
  }
}
