/** The page: loads the model, locks itself off the network, then answers for each image that it is given. */

import { Answers } from "./answers.js";
import { Classifier } from "./classifier.js";
import { Crop } from "./crop.js";
import { showFacts } from "./facts.js";
import { listen, showSamples } from "./inputs.js";
import { Loader } from "./loading.js";
import { drawMap, occlude } from "./occlusion.js";
import { find } from "./page.js";
import { decode, Refused } from "./preprocessing/decode.js";
import { prepare } from "./preprocessing/pixels.js";
import { lock } from "./privacy.js";
import { fill, fillPage, number, percent, STRINGS } from "./strings.js";

const PAUSE = 150; // milliseconds that the crop box rests before the model is asked
const VISIBLE_FALL = 0.01; // of a probability; a map of less would show noise

const status = find("status", HTMLElement);
const refusal = find("refused", HTMLElement);
const mapButton = find("occlusion-start", HTMLButtonElement);
const mapProgress = find("occlusion-progress", HTMLProgressElement);
const mapText = find("occlusion-text", HTMLElement);
const map = find("map", HTMLCanvasElement);

/** @type {{facts: ModelFacts, classifier: Classifier, answers: Answers} | null} */
let model = null;
/** @type {ImageBitmap | null} */
let image = null;
/** @type {{pixels: ReturnType<typeof prepare>, box: Box, probabilities: number[]} | null} */
let answered = null;
let taken = 0; // images; an image that comes while another is decoded wins
let asked = 0; // questions to the model; only the last one's answer is shown
let timer = 0;

const crop = new Crop(() => {
  dropMap();
  clearTimeout(timer);
  timer = setTimeout(answer, PAUSE);
});

fillPage();
listen(take, refuse);
mapButton.addEventListener("click", toggleMap);
start().catch((error) => showStatus(fill(STRINGS.failed, { reason: String(error.message ?? error) })));

async function start() {
  const progress = find("progress", HTMLProgressElement);
  const loader = await Loader.open((done, total) => {
    progress.value = done / total;
    const values = { done: number(done / 1e6, 1), total: number(total / 1e6, 1) };
    find("progress-text", HTMLElement).textContent = fill(STRINGS.loading, values);
  });
  const facts = await loader.facts();
  showFacts(facts);
  const [program] = await Promise.all([
    loader.program(),
    loader.samples().then((samples) => showSamples(samples, take)),
  ]);
  await loader.keepForLater().catch((error) => console.warn("not kept for later visits:", error));
  lock();
  find("progress-text", HTMLElement).textContent = STRINGS.starting;
  const classifier = new Classifier(program.worker);
  await classifier.load(program);
  find("loading", HTMLElement).hidden = true;
  model = { facts, classifier, answers: new Answers(facts) };
  document.documentElement.dataset.ready = "";
  if (image) await answer();
  else showStatus(`${STRINGS.locked} ${STRINGS.waiting}`);
}

/** @param {string} text */
function showStatus(text) {
  status.textContent = text;
}

/** @param {Refused} refused */
function refuse({ reason, values }) {
  const text = /** @type {Record<string, string>} */ (STRINGS.refused)[reason];
  refusal.textContent = fill(text, values);
  refusal.hidden = false;
}

/** @param {Blob} file */
async function take(file) {
  const turn = ++taken;
  refusal.hidden = true;
  try {
    const decoded = await decode(file);
    if (turn !== taken) return decoded.close();
    image?.close(); // frees its pixels now, not at some later collection
    image = decoded;
  } catch (error) {
    if (turn !== taken) return;
    if (error instanceof Refused) return refuse(error);
    throw error;
  }
  dropMap();
  find("stage", HTMLElement).hidden = false;
  crop.show(image);
  clearTimeout(timer);
  await answer();
}

/** Asks the model about the part of the image in the crop box. */
async function answer() {
  if (!image || !model) return;
  const turn = ++asked;
  showStatus(STRINGS.thinking);
  find("answer", HTMLElement).classList.add("stale");
  await new Promise(requestAnimationFrame); // lets the browser show the image first
  if (turn !== asked) return;
  try {
    const box = crop.box(image);
    const pixels = prepare(image, box, model.facts.preprocessing);
    const found = await model.classifier.answer(pixels);
    if (turn !== asked) return;
    answered = { pixels, box, probabilities: found.probabilities };
    showStatus(model.answers.show(found));
    find("answer", HTMLElement).classList.remove("stale");
    status.dataset.answer = String(turn);
  } catch (error) {
    showStatus(fill(STRINGS.failed_answer, { reason: String(error) }));
  }
}

/** Starts the map, stops it, or hides it. */
async function toggleMap() {
  if (!map.hidden || !mapProgress.hidden) return dropMap();
  if (!model || !answered || !image) return;
  const { classifier, facts } = model;
  const { pixels, box, probabilities } = answered;
  const label = probabilities.indexOf(Math.max(...probabilities));
  const { width, height } = image;
  const turn = asked;
  mapButton.textContent = STRINGS.occlusion_stop;
  mapProgress.hidden = false;
  const proceed = (/** @type {number} */ done, /** @type {number} */ total) => {
    if (turn !== asked || mapProgress.hidden) return false;
    mapProgress.value = done / total;
    mapText.textContent = fill(STRINGS.occlusion_progress, { done: Math.min(done + 1, total), total });
    return true;
  };
  const ask = async (/** @type {typeof pixels} */ covered) => (await classifier.answer(covered)).probabilities;
  const fall = await occlude(pixels, ask, label, probabilities[label], proceed);
  if (!fall) return;
  mapProgress.hidden = true;
  const largest = Math.max(...fall.flat());
  const shown = largest >= VISIBLE_FALL;
  const values = { name: facts.labels[label].name, drop: percent(shown ? largest : VISIBLE_FALL, shown ? 1 : 0) };
  mapText.textContent = fill(shown ? STRINGS.occlusion_legend : STRINGS.occlusion_nothing, values);
  mapButton.textContent = shown ? STRINGS.occlusion_hide : STRINGS.occlusion;
  map.hidden = !shown;
  if (shown) drawMap(map, { width, height }, box, fall);
}

function dropMap() {
  asked += 1; // whatever is under way tells about another image, or another part
  map.hidden = true;
  mapProgress.hidden = true;
  mapText.textContent = "";
  mapButton.textContent = STRINGS.occlusion;
}
