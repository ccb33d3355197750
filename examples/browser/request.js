// What the form asks for, checked before the model sees it.

// An input that cannot be run: `field` is the id of the element to mend.
export class InputError extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

const LARGEST_SEED = 2 ** 32 - 1;

// Reads a number of the form; `fallback` stands for an empty field.
function number(elements, field, what, least, most, { whole, fallback }) {
  const { value, validity } = elements[field];
  if (value === "" && !validity.badInput && fallback !== undefined) return fallback;
  const found = Number(value);
  if (value === "" || found < least || found > most || (whole && !Number.isInteger(found))) {
    const kind = whole ? "a whole number" : "a number";
    const range = most === Infinity ? `of at least ${least}` : `from ${least} to ${most}`;
    throw new InputError(field, `${what} must be ${kind} ${range}`);
  }
  return found;
}

// Returns { prompt, newTokens, temperature, seed }; without a seed one is drawn.
//
// `countTokens` counts those of a text, and `context` is how many tokens the model can hold.
export function readRequest(elements, countTokens, context) {
  const prompt = elements.prompt.value;
  const length = countTokens(prompt);
  if (length === 0) {
    throw new InputError("prompt", "the prompt is empty; type some words to begin with");
  }
  const room = context - length;
  if (room < 1) {
    throw new InputError(
      "prompt",
      `the prompt has ${length} tokens; the model holds ${context} with those that it writes, ` +
        `so shorten it to ${context - 1} or less`,
    );
  }
  const newTokens = number(elements, "tokens", "new tokens", 1, Infinity, { whole: true });
  if (newTokens > room) {
    throw new InputError(
      "tokens",
      `the model holds ${context} tokens and the prompt has ${length}; at most ${room} new ` +
        "tokens fit",
    );
  }
  return {
    prompt,
    newTokens,
    temperature: number(elements, "temperature", "the temperature", 0, Infinity, {}),
    seed: number(elements, "seed", "the seed", 0, LARGEST_SEED, {
      whole: true,
      fallback: crypto.getRandomValues(new Uint32Array(1))[0],
    }),
  };
}
