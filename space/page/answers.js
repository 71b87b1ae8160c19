/** What the model says of one image: the ranking, and malignant or not at an operating point. */

import { find } from "./page.js";
import { element, fill, percent, STRINGS, shareWithInterval } from "./strings.js";

export class Answers {
  #facts;
  #select = find("point", HTMLSelectElement);
  /** @type {number[]} */
  #probabilities = [];

  /** @param {ModelFacts} facts */
  constructor(facts) {
    this.#facts = facts;
    this.#fillPoints();
    this.#select.addEventListener("change", () => this.#showDecision());
  }

  /**
   * @param {Answer} answer
   * @returns {string} a sentence for the live region
   */
  show({ probabilities, distance }) {
    this.#probabilities = probabilities;
    const order = probabilities.map((_, label) => label).sort((a, b) => probabilities[b] - probabilities[a]);
    find("ranking", HTMLElement).replaceChildren(...order.map((label) => this.#row(label)));
    const [first] = order;
    find("bin", HTMLElement).textContent = this.#calibration(probabilities[first]);
    find("held", HTMLElement).textContent = this.#heldDiagnoses(order);
    const { familiarity } = this.#facts;
    const unfamiliar = familiarity !== null && distance !== null && distance > familiarity.threshold;
    find("unfamiliar", HTMLElement).hidden = !unfamiliar;
    const decision = this.#showDecision();
    const values = { name: this.#facts.labels[first].name, share: percent(probabilities[first]), decision };
    find("answer", HTMLElement).hidden = false;
    return `${unfamiliar ? `${STRINGS.unfamiliar_short} ` : ""}${fill(STRINGS.announce, values)}`.trim();
  }

  /**
   * What can't be ruled out: the diagnoses that reach their own threshold, and the most probable one.
   *
   * @param {number[]} order of the labels, the most probable first
   */
  #heldDiagnoses(order) {
    const { prediction_sets: sets, shown_level: level, labels } = this.#facts;
    const chosen = sets.find((set) => set.level === level);
    if (!chosen) return "";
    const held = order.filter((label, at) => at === 0 || this.#probabilities[label] >= chosen.thresholds[label]);
    const names = held.map((label) => labels[label].name).join(", ");
    return fill(STRINGS.held, { names, share: percent(chosen.guarantee) });
  }

  /** @param {number} label */
  #row(label) {
    const { code, name, malignant } = this.#facts.labels[label];
    const share = this.#probabilities[label];
    const title = element("span", "name", name);
    if (malignant) title.append(" ", element("span", "mark", STRINGS.malignant));
    const fillOfBar = element("span", "fill");
    fillOfBar.style.width = `${100 * share}%`;
    const bar = element("span", "bar", fillOfBar);
    bar.setAttribute("aria-hidden", "true");
    const row = element("li", "", title, " ", element("span", "share", percent(share, 1)), bar);
    row.dataset.code = code;
    row.dataset.probability = String(share);
    return row;
  }

  /**
   * How often the model was right with such a probability: what its bar is worth.
   *
   * @param {number} share
   */
  #calibration(share) {
    const bin = this.#facts.calibration.find(({ low, high }) => share > low && share <= high);
    if (!bin) return "";
    const { low, high, n_images: n, accuracy } = bin;
    return fill(STRINGS.bin, { n, low: percent(low), high: percent(high), right: percent(accuracy) });
  }

  #fillPoints() {
    const options = this.#facts.points.map((point, number) => {
      const aim = fill(/** @type {any} */ (STRINGS.aims)[point.aim] ?? point.aim, { level: percent(point.level) });
      const option = element("option", "", fill(STRINGS.point, { target: targetName(point), aim }));
      option.value = String(number);
      return option;
    });
    this.#select.replaceChildren(...options);
    this.#select.value = String(this.#facts.shown_point ?? 0);
    if (options.length) return;
    find("decision", HTMLElement).replaceChildren(element("p", "hint", STRINGS.no_points));
  }

  /** @returns {string} the decision in short; empty where there is none */
  #showDecision() {
    const point = this.#facts.points[Number(this.#select.value)];
    if (!point || !this.#probabilities.length) return "";
    const target = targetName(point);
    const score = point.members.reduce((sum, label) => sum + this.#probabilities[label], 0);
    const above = score >= point.threshold;
    const names = point.members.map((label) => this.#facts.labels[label].name).join(", ");
    const verdict = find("verdict", HTMLElement);
    verdict.textContent = above ? STRINGS.yes : STRINGS.no;
    verdict.className = above ? "above" : "below";
    find("decision-heading", HTMLElement).textContent = fill(STRINGS.decision_heading, { target });
    const values = { names, score: percent(score, 1), threshold: percent(point.threshold, 1) };
    find("verdict-why", HTMLElement).textContent = fill(STRINGS.decision, values);
    showMeasured(point, this.#facts.measured_on);
    return fill(STRINGS.decision_short, { target, answer: verdict.textContent.toLowerCase() });
  }
}

/** @param {OperatingPoint} point */
function targetName({ target }) {
  return /** @type {Record<string, string>} */ (STRINGS.targets)[target] ?? target;
}

/**
 * @param {OperatingPoint} point
 * @param {MeasuredOn | null} on
 */
function showMeasured({ measured }, on) {
  const note = find("point-measured", HTMLElement);
  const list = find("point-metrics", HTMLElement);
  list.replaceChildren();
  if (!measured || !on) {
    note.textContent = STRINGS.point_unmeasured;
    return;
  }
  for (const key of /** @type {const} */ (["sensitivity", "specificity", "ppv", "npv"])) {
    const metric = measured[key];
    if (!metric) continue;
    const name = fill(STRINGS[key], { prevalence: percent(measured.prevalence) });
    list.append(element("div", "", element("dt", "", name), element("dd", "", shareWithInterval(metric))));
  }
  const values = { images: measured.n_images, cases: measured.n_cases, level: percent(on.level) };
  note.textContent = fill(STRINGS.point_measured, values);
}
