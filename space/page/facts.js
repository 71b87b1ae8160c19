/** What is known about the model, from its own files. */

import { find } from "./page.js";
import { element, fill, number, percent, STRINGS, shareWithInterval, withInterval } from "./strings.js";

/** @param {ModelFacts} facts */
export function showFacts(facts) {
  const list = find("facts", HTMLElement);
  for (const [name, value] of rows(facts)) {
    list.append(element("div", "", element("dt", "", name), element("dd", "", value)));
  }
  const { measured_on: measured } = facts;
  find("facts-note", HTMLElement).textContent = measured
    ? fill(STRINGS.facts_intervals, { level: percent(measured.level) })
    : STRINGS.facts_unmeasured;
  if (facts.recall.length) showRecall(facts);
  if (facts.link) {
    const link = element("a", "", STRINGS.facts_link);
    link.href = facts.link;
    link.rel = "noopener";
    link.target = "_blank";
    find("facts-link", HTMLElement).append(link);
  }
  showList("limits", STRINGS.limits, { count: facts.labels.length });
  showList("privacy", STRINGS.privacy, {});
}

/**
 * @param {ModelFacts} facts
 * @returns {[string, string][]}
 */
function rows({ name, parameters, trained_on: trained, measured_on: measured, metrics }) {
  /** @type {[string, string][]} */
  const found = [[STRINGS.facts_model, parameters ? fill(STRINGS.facts_parameters, { name, parameters }) : name]];
  if (trained) {
    const { title, synthetic, n_images: images, n_lesions: lesions } = trained;
    const known = lesions ? STRINGS.facts_trained_lesions : STRINGS.facts_trained_on;
    const text = synthetic ? STRINGS.facts_synthetic : known;
    found.push([STRINGS.facts_trained, fill(text, { title, images, lesions: lesions ?? 0 })]);
  }
  if (measured) {
    const { split, n_images: images, n_lesions: lesions } = measured;
    const dataset = split ? fill(STRINGS.facts_split, { dataset: measured.dataset, split }) : measured.dataset;
    const text = lesions ? STRINGS.facts_measured_lesions : STRINGS.facts_measured_on;
    found.push([STRINGS.facts_measured, fill(text, { dataset, images, lesions: lesions ?? 0 })]);
  }
  for (const metric of metrics) found.push([metric.name, withInterval(metric)]);
  return found;
}

/** @param {ModelFacts} facts */
function showRecall({ recall, labels }) {
  const head = element("tr");
  for (const title of [STRINGS.recall_diagnosis, STRINGS.recall_images, STRINGS.recall_found]) {
    const cell = element("th", "", title);
    cell.scope = "col";
    head.append(cell);
  }
  const body = recall.map((row) => {
    const name = element("th", "", labels.find(({ code }) => code === row.code)?.name ?? row.code);
    name.scope = "row";
    return element("tr", "", name, element("td", "", number(row.n_images)), element("td", "", shareWithInterval(row)));
  });
  const caption = element("caption", "", STRINGS.recall_heading);
  const table = element("table", "", caption, element("thead", "", head), element("tbody", "", ...body));
  const place = find("recall", HTMLElement);
  place.append(table);
  place.hidden = false;
}

/**
 * @param {string} id
 * @param {string[]} texts
 * @param {Record<string, number>} values
 */
function showList(id, texts, values) {
  find(id, HTMLElement).append(...texts.map((text) => element("li", "", fill(text, values))));
}
