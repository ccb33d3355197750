// What the model could have said instead of a token, in a box below it.

import { percent, visible } from "./shown_text.js";

const SHOW_MS = 120;
const HIDE_MS = 250;
// Tokens that are no text: a part of a character, or an end.
const NO_TEXT = /^bytes:|\ufffd|^<\|.*\|>$/;

export class Alternatives {
  #box = document.getElementById("alternatives");
  #editor;
  #choose;
  #run;
  #timer = null;

  // `choose` is called with a run and the text that is to stand there.
  constructor(editor, choose) {
    this.#editor = editor;
    this.#choose = choose;
    this.#box.addEventListener("pointerenter", () => clearTimeout(this.#timer));
    this.#box.addEventListener("pointerleave", () => this.hideSoon());
  }

  get isShown() {
    return !this.#box.hidden;
  }

  showSoon(run) {
    clearTimeout(this.#timer);
    if (run !== this.#run) this.#timer = setTimeout(() => this.show(run), SHOW_MS);
  }

  hideSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.hide(), HIDE_MS);
  }

  hide() {
    clearTimeout(this.#timer);
    this.#run = undefined;
    this.#box.hidden = true;
    this.#editor.mark(undefined);
  }

  show(run) {
    clearTimeout(this.#timer);
    this.#run = run;
    this.#box.replaceChildren(...run.tokens.map((token) => this.#list(run, token)));
    this.#box.hidden = false;
    this.#editor.mark(run);
    this.#place(this.#editor.boxOf(run));
  }

  #list(run, token) {
    const list = document.createElement("ol");
    const isListed = token.alternatives.some((each) => each.text === token.text);
    const entries = isListed ? token.alternatives : [...token.alternatives, token];
    const canChoose = run.tokens.length === 1;
    for (const entry of entries) {
      const item = document.createElement("li");
      item.append(this.#entry(run, entry, entry.text === token.text, canChoose));
      list.append(item);
    }
    return list;
  }

  #entry(run, { text, logprob }, isChosen, canChoose) {
    const button = document.createElement("button");
    button.type = "button";
    button.disabled = isChosen || !canChoose || NO_TEXT.test(text);
    button.classList.toggle("chosen", isChosen);
    if (isChosen) button.setAttribute("aria-current", "true");
    else button.title = "continue from here with this";
    const word = document.createElement("bdi");
    word.textContent = visible(text);
    const share = document.createElement("span");
    share.className = "share";
    share.textContent = percent(logprob);
    button.append(word, bar(Math.exp(logprob)), share);
    button.addEventListener("click", () => this.#choose(run, text));
    return button;
  }

  // Puts the box below the run, within the width of the text and of the window.
  #place(anchor) {
    const frame = this.#box.offsetParent.getBoundingClientRect();
    const right = Math.min(frame.right, document.documentElement.clientWidth - 8);
    const left = Math.max(8, Math.min(anchor.left, right - this.#box.offsetWidth));
    this.#box.style.left = `${left - frame.left}px`;
    this.#box.style.top = `${anchor.bottom - frame.top}px`;
  }
}

// Returns a bar whose filled part is a probability.
function bar(probability) {
  const whole = document.createElement("span");
  const filled = document.createElement("span");
  whole.className = "bar";
  filled.style.width = `${100 * probability}%`;
  whole.append(filled);
  return whole;
}

// Returns a run in words, for those who hear the page.
export function spoken(run) {
  return run.tokens
    .map(({ text, logprob, alternatives }) => {
      const others = alternatives.filter((each) => each.text !== text).slice(0, 3);
      const words = others.map((each) => `“${visible(each.text)}” ${percent(each.logprob)}`);
      return `“${visible(text)}” ${percent(logprob)}; instead: ${words.join(", ")}`;
    })
    .join(". ");
}
