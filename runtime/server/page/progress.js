// How a completion goes: its figures for those who see, and its sentences for those who listen.

const SENTENCE = /[.!?…]["”’)]?\s|\n/;
const $ = (id) => document.getElementById(id);

export class Progress {
  #start = performance.now();
  #first = null; // milliseconds from the start to the first token
  #last = null;
  #count = 0;
  #usage = null;
  #reason = null;
  #unsaid = "";
  #announce;

  constructor(seed, announce) {
    this.#announce = announce;
    $("used-seed").textContent = seed;
    this.#show("reading…");
    announce("generating");
  }

  // Takes a part that has come.
  take({ text, tokens, finishReason, usage }) {
    this.#usage = usage ?? this.#usage;
    this.#reason = finishReason ?? this.#reason;
    if (tokens.length > 0) {
      this.#last = performance.now() - this.#start;
      this.#first ??= this.#last;
      this.#count += tokens.length;
      this.#show(this.#figures());
    }
    this.#unsaid += text;
    if (SENTENCE.test(this.#unsaid)) this.#say();
  }

  // Says how it ended.
  finish(isStopped = false) {
    const end = isStopped ? "stopped" : this.#reason === "stop" ? "the text ended" : "done";
    this.#show([this.#figures(), this.#prompt(), end].filter(Boolean).join(" · "));
    $("keep-seed").hidden = false;
    this.#say(`${end}, ${this.#count} tokens`);
  }

  #figures() {
    if (this.#first === null) return "";
    const words = [`${this.#count} tokens`];
    if (this.#last > this.#first) {
      const rate = (1000 * (this.#count - 1)) / (this.#last - this.#first);
      words.push(`${rate.toFixed(rate < 10 ? 1 : 0)} a second`);
    }
    return [...words, `first after ${this.#first.toFixed(0)} ms`].join(" · ");
  }

  #prompt() {
    return this.#usage ? `prompt of ${this.#usage.prompt_tokens}` : "";
  }

  #show(text) {
    $("progress").textContent = text;
    $("keep-seed").hidden = true;
  }

  #say(end = "") {
    this.#announce(`${this.#unsaid} ${end}`);
    this.#unsaid = "";
  }
}
