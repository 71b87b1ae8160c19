// The shapes of what the build writes and the page reads.

/** `model-HASH.json`: everything that the page says about the model. */
interface ModelFacts {
  name: string;
  link: string | null;
  parameters: number | null;
  labels: Label[];
  preprocessing: Preprocessing;
  trained_on: { title: string; synthetic: boolean; n_images: number; n_lesions: number | null } | null;
  measured_on: MeasuredOn | null;
  metrics: (Metric & { name: string })[];
  recall: (Metric & { code: string; n_images: number })[];
  calibration: { low: number; high: number; n_images: number; accuracy: number }[];
  points: OperatingPoint[];
  shown_point: number | null;
  prediction_sets: { level: number; guarantee: number; thresholds: number[] }[];
  shown_level: number;
  familiarity: { accepted: number; threshold: number } | null;
}

interface Label {
  code: string;
  name: string;
  malignant: boolean | null;
}

interface Preprocessing {
  width: number;
  height: number;
  filter: string;
  crop: { width: number; height: number } | null;
  /** the normalized value of each of the 256 levels of red, green and blue */
  levels: number[][];
}

interface MeasuredOn {
  dataset: string;
  split: string | null;
  n_images: number;
  n_lesions: number | null;
  level: number;
}

interface Metric {
  value: number;
  low: number | null;
  high: number | null;
}

/** A threshold on the summed probability of the `members`, numbers of labels. */
interface OperatingPoint {
  target: string;
  aim: string;
  level: number;
  threshold: number;
  members: number[];
  measured: {
    n_cases: number;
    n_images: number;
    prevalence: number;
    sensitivity: Metric | null;
    specificity: Metric | null;
    ppv: Metric | null;
    npv: Metric | null;
  } | null;
}

/** `files.json`: what there is to fetch. `version` changes with the content of any file, a path with that of its own. */
interface Files {
  version: string;
  page: string[];
  runtime: { script: LargeFile; wasm: LargeFile };
  model: LargeFile;
  facts: LargeFile;
  samples: LargeFile[];
}

interface LargeFile {
  path: string;
  bytes: number;
}

/** What the model says of one image: the probability of each label, and its distance from the training images. */
interface Answer {
  probabilities: number[];
  distance: number | null;
}

/** A part of an image, in its pixels. */
interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}
