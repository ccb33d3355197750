// Text as something to read: characters that nobody sees get names.

const NAMES = new Map([[" ", "␣"], ["\n", "⏎"], ["\t", "⇥"]]);
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
// Those that hide text or change its order; a joiner within an emoji does not.
const DECEPTIVE =
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

const codePoint = (character) =>
  `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

// Returns a token with its outer spaces and whatever is unseen made visible.
export function visible(token) {
  const spaced = token.replace(/^ +| +$/g, (spaces) => "␣".repeat(spaces.length));
  return spaced.replace(UNSEEN, (character) => NAMES.get(character) ?? codePoint(character));
}

// Returns the names of the characters of a text that hide or reorder it.
export function deceptiveCharacters(text) {
  return [...new Set(text.match(DECEPTIVE) ?? [])].map(codePoint);
}

// Returns a probability in percent.
export function percent(logprob) {
  const value = 100 * Math.exp(logprob);
  if (value >= 99.95) return "100 %";
  if (value < 0.01) return "under 0.01 %";
  return `${value >= 10 ? value.toFixed(0) : value >= 1 ? value.toFixed(1) : value.toFixed(2)} %`;
}
