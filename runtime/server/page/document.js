// The text, the tokens of it that were generated, and what can be undone.
//
// A run is a piece of the text that came from the model: { start, end, tokens }, in UTF-16 units.
// It has several tokens where one character took them. Each token is
// { text, logprob, alternatives }, the alternatives as { text, logprob } with the likeliest first.

const SAME_EDIT_MS = 1000;

export class TextDocument {
  // Where the last continuation begins; null once somebody has typed.
  #state = { text: "", runs: [], continuedFrom: null };
  #past = [];
  #future = [];
  #lastEdit = -Infinity;

  get text() {
    return this.#state.text;
  }

  get runs() {
    return this.#state.runs;
  }

  get continuedFrom() {
    return this.#state.continuedFrom;
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  // Takes the text as somebody has edited it; runs that the edit has touched are theirs now.
  edit(text, now = performance.now()) {
    if (text === this.text) return;
    if (now - this.#lastEdit > SAME_EDIT_MS) this.#remember();
    this.#lastEdit = now;
    this.#state = { text, runs: movedRuns(this.#state, text), continuedFrom: null };
  }

  // Begins a continuation, of the whole text or of what lies before a position, with other text
  // put there.
  begin(at = this.text.length, inserted = "") {
    this.#remember();
    this.#lastEdit = -Infinity;
    const text = this.text.slice(0, at) + inserted;
    const runs = this.runs.filter((run) => run.end <= at);
    this.#state = { text, runs, continuedFrom: text.length };
  }

  // Appends what the model said; returns the new run.
  append(text, tokens) {
    const start = this.text.length;
    const run = { start, end: start + text.length, tokens };
    this.#state = { ...this.#state, text: this.text + text, runs: [...this.runs, run] };
    return run;
  }

  // Forgets a continuation that has brought nothing.
  forgetEmpty() {
    if (this.#past.at(-1)?.text === this.text) this.#state = this.#past.pop();
  }

  undo() {
    this.#move(this.#past, this.#future);
  }

  redo() {
    this.#move(this.#future, this.#past);
  }

  // Returns the run around a position, or the one that ends there with the text; undefined if none.
  runAt(position) {
    const isEnd = position === this.text.length;
    return this.runs.find(
      (run) => run.start <= position && (position < run.end || (isEnd && position === run.end)),
    );
  }

  #remember() {
    this.#past.push(this.#state);
    this.#future = [];
  }

  #move(from, to) {
    if (from.length === 0) return;
    to.push(this.#state);
    this.#state = from.pop();
    this.#lastEdit = -Infinity;
  }
}

// Returns the runs that an edit leaves whole, where they are in the new text.
function movedRuns({ text: old, runs }, text) {
  const shorter = Math.min(old.length, text.length);
  let before = 0;
  while (before < shorter && old[before] === text[before]) before += 1;
  let after = 0;
  while (after < shorter - before && old.at(-1 - after) === text.at(-1 - after)) after += 1;
  const moved = text.length - old.length;
  return runs.flatMap((run) => {
    if (run.end <= before) return [run];
    if (run.start < old.length - after) return [];
    return [{ ...run, start: run.start + moved, end: run.end + moved }];
  });
}
