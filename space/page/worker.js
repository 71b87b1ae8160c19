/**
 * Runs the model. The page fetches this text and starts it from a Blob: only such a worker obeys the page's lock.
 *
 * @typedef {typeof import("onnxruntime-web")} Runtime
 * @typedef {{id: number, runtime: string, wasm: ArrayBuffer, model: ArrayBuffer}} LoadRequest
 * @typedef {{id: number, values: Float32Array, width: number, height: number}} RunRequest
 */

/** @type {Runtime} */
let ort;
/** @type {import("onnxruntime-web").InferenceSession} */
let session;

self.onmessage = async ({ data }) => {
  try {
    self.postMessage({ id: data.id, answer: await ("model" in data ? load(data) : run(data)) });
  } catch (error) {
    self.postMessage({ id: data.id, error: String(error) });
  }
};

/** @param {LoadRequest} request */
async function load({ runtime, wasm, model }) {
  const address = URL.createObjectURL(new Blob([runtime], { type: "text/javascript" }));
  ort = await import(address);
  URL.revokeObjectURL(address);
  ort.env.wasm.numThreads = 1; // more need cross-origin isolation, which a page in a frame can't have
  ort.env.wasm.wasmBinary = wasm;
  session = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: ["wasm"] });
}

/**
 * @param {RunRequest} request
 * @returns {Promise<{logits: Float32Array, distance: number | null}>} a logit for each label; the distance if the file
 *   gives one
 */
async function run({ values, width, height }) {
  const pixels = new ort.Tensor("float32", values, [1, 3, height, width]);
  const outputs = await session.run({ pixel_values: pixels });
  const logits = Float32Array.from(/** @type {Float32Array} */ (outputs.logits.data));
  const distance = "distance" in outputs ? Number(outputs.distance.data[0]) : null;
  for (const tensor of [pixels, ...Object.values(outputs)]) tensor.dispose();
  return { logits, distance };
}
