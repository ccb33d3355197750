// The settings that the user makes, as fields of a request.

export class FieldError extends Error {
  constructor(field, message) {
    super(message);
    this.field = field; // the id of the element
  }
}

const LARGEST_SEED = 2 ** 32 - 1;
const field = (id) => document.getElementById(id);

// Shows the value of each slider beside its name.
export function showSliders() {
  for (const output of document.querySelectorAll("output[for]")) {
    const slider = field(output.htmlFor);
    const show = () => {
      const value = Number(slider.value);
      output.value = slider.id === "temperature" && value === 0 ? "0, greedy" : value.toFixed(2);
    };
    slider.addEventListener("input", show);
    show();
  }
}

// Returns the fields of a request; throws a FieldError where one cannot be used.
export function readSettings() {
  const penalty = number("repetition_penalty", "the repetition penalty", { above: 0 });
  const topK = number("top_k", "top k", { least: 0, whole: true });
  return {
    max_tokens: number("length", "the length", { least: 1, whole: true }),
    temperature: Number(field("temperature").value),
    top_p: Number(field("top_p").value),
    ...(topK > 0 && { top_k: topK }),
    ...(penalty !== 1 && { repetition_penalty: penalty }),
    seed: field("seed").validity.valid && field("seed").value === "" ? anySeed() : seed(),
  };
}

function seed() {
  return number("seed", "the seed", { least: 0, most: LARGEST_SEED, whole: true });
}

function anySeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}

function number(id, name, { least, most, above, whole = false }) {
  const value = field(id).valueAsNumber;
  const isInside = !(value < least) && !(value > most) && !(value <= above);
  if (Number.isFinite(value) && isInside && (!whole || Number.isInteger(value))) return value;
  const kind = whole ? "a whole number" : "a number";
  const range =
    most !== undefined ? `from ${least} to ${most}`
    : above !== undefined ? `above ${above}`
    : `of at least ${least}`;
  throw new FieldError(id, `${name} must be ${kind} ${range}`);
}
