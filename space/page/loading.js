/** Fetches everything that the page will ever need, and keeps it for visits without a network. */

/** @typedef {{worker: string, runtime: string, wasm: ArrayBuffer, model: ArrayBuffer}} Program */

const STORE = "skin-lesion-classifier "; // the names of what is kept begin so: another page may share the address

export class Loader {
  #files;
  #store;
  #done = 0;
  #total;
  #progress;

  /**
   * @param {(done: number, total: number) => void} progress is told the bytes of the large files
   */
  static async open(progress) {
    const files = /** @type {Files} */ (await (await get("files.json", { cache: "no-cache" })).json());
    return new Loader(files, await openStore(files.version), progress);
  }

  /**
   * @param {Files} files
   * @param {Cache | null} store
   * @param {(done: number, total: number) => void} progress
   */
  constructor(files, store, progress) {
    this.#files = files;
    this.#store = store;
    this.#progress = progress;
    const { runtime, model, samples } = files;
    this.#total = [runtime.script, runtime.wasm, model, ...samples].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** @returns {Promise<ModelFacts>} */
  async facts() {
    return (await get(this.#files.facts.path)).json();
  }

  /** @returns {Promise<Blob[]>} */
  samples() {
    return Promise.all(this.#files.samples.map((file) => this.#large(file)));
  }

  /** @returns {Promise<Program>} */
  async program() {
    const { runtime, model } = this.#files;
    const [worker, script, wasm, weights] = await Promise.all([
      get("worker.js").then((response) => response.text()),
      this.#large(runtime.script).then((file) => file.text()),
      this.#large(runtime.wasm).then(unpacked),
      this.#large(model).then(unpacked),
    ]);
    return { worker, runtime: script, wasm, model: weights };
  }

  /** Keeps the page itself as well, and drops what an earlier version kept. */
  async keepForLater() {
    if (!this.#store) return;
    const store = this.#store;
    const { page, version } = this.#files;
    await Promise.all(page.map(async (path) => keep(store, path, await get(path))));
    const earlier = (await caches.keys()).filter((name) => name.startsWith(STORE) && name !== STORE + version);
    await Promise.all(earlier.map((name) => caches.delete(name)));
    await navigator.serviceWorker?.register("service-worker.js");
  }

  /**
   * A large file: kept from an earlier visit, or fetched with progress.
   *
   * @param {LargeFile} file
   */
  async #large({ path }) {
    const kept = await this.#store?.match(path);
    const content = await this.#read(kept ?? (await get(path)));
    if (!kept && this.#store) await keep(this.#store, path, new Response(content));
    return content;
  }

  /** @param {Response} response */
  async #read(response) {
    const counting = new TransformStream({
      transform: (chunk, controller) => {
        this.#done += chunk.byteLength;
        this.#progress(Math.min(this.#done, this.#total), this.#total);
        controller.enqueue(chunk);
      },
    });
    const type = response.headers.get("Content-Type") ?? "";
    return new Response(response.body?.pipeThrough(counting), { headers: { "Content-Type": type } }).blob();
  }
}

/**
 * @param {string} path
 * @param {RequestInit} [options]
 */
async function get(path, options) {
  const response = await fetch(path, options);
  if (!response.ok) throw new Error(`${path}: the server answered ${response.status}`);
  return response;
}

/**
 * The content of a gzip file. Some servers unpack it on the way, so its first bytes decide.
 *
 * @param {Blob} file
 * @returns {Promise<ArrayBuffer>}
 */
async function unpacked(file) {
  const [first, second] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  if (first !== 0x1f || second !== 0x8b) return file.arrayBuffer();
  return new Response(file.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/**
 * Where files are kept; null where the browser keeps none, as in some private windows.
 *
 * @param {string} version
 */
async function openStore(version) {
  try {
    return await caches.open(STORE + version);
  } catch {
    return null;
  }
}

/**
 * @param {Cache} store
 * @param {string} path
 * @param {Response} response
 */
async function keep(store, path, response) {
  try {
    await store.put(path, response);
  } catch (error) {
    console.warn(`${path} is not kept for later visits:`, error); // no room; the page works with a network
  }
}
