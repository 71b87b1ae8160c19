/** The model in its worker, with a promise for each question. */

export class Classifier {
  #worker;
  #asked = 0;
  /** @type {Map<number, {resolve: (answer: any) => void, reject: (error: Error) => void}>} */
  #waiting = new Map();

  /**
   * @param {string} source of the worker
   */
  constructor(source) {
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.#worker = new Worker(address, { type: "module" });
    this.#worker.onmessage = ({ data }) => {
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if ("error" in data) waiting?.reject(new Error(data.error));
      else waiting?.resolve(data.answer);
    };
    this.#worker.onerror = ({ message }) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(message));
      this.#waiting.clear();
    };
  }

  /**
   * @param {{runtime: string, wasm: ArrayBuffer, model: ArrayBuffer}} files
   * @returns {Promise<void>}
   */
  load({ runtime, wasm, model }) {
    return this.#ask({ runtime, wasm, model }, [wasm, model]);
  }

  /**
   * @param {{values: Float32Array<ArrayBuffer>, width: number, height: number}} pixels
   * @returns {Promise<Answer>}
   */
  async answer({ values, width, height }) {
    const { logits, distance } = await this.#ask({ values, width, height }, []);
    return { probabilities: softmax(logits), distance };
  }

  /**
   * @param {object} message
   * @param {Transferable[]} transfer
   * @returns {Promise<any>}
   */
  #ask(message, transfer) {
    const id = this.#asked++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, ...message }, transfer);
    });
  }
}

/** @param {Float32Array} logits */
export function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
