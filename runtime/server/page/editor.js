// The field that the text is typed into. Behind it lies a mirror: the same text, laid out alike and
// invisible, whose pieces have the colours.

// The least probability of each level of surprise but the last.
const LEVELS = [0.5, 0.2, 0.05, 0.01];
// A line of text that ends in a line feed has an empty line below it only with something in it.
const LAST = "\u200b";

export class Editor {
  #field = document.getElementById("text");
  #mirror = document.getElementById("mirror");
  #runs = new Map(); // the run of each coloured piece

  get field() {
    return this.#field;
  }

  // Shows a document whole.
  show(written) {
    if (this.#field.value !== written.text) this.#field.value = written.text;
    this.#runs.clear();
    const pieces = [];
    let end = 0;
    for (const run of written.runs) {
      pieces.push(written.text.slice(end, run.start), this.#piece(written, run));
      end = run.end;
    }
    pieces.push(written.text.slice(end), LAST);
    this.#mirror.replaceChildren(...pieces);
  }

  // Shows runs that were appended to a document, and keeps the end of the text in sight.
  append(written, runs) {
    const wasSeen = this.#isEndSeen();
    this.#field.setRangeText(written.text.slice(runs[0].start), runs[0].start, runs[0].start, "preserve");
    this.#mirror.lastChild.before(...runs.map((run) => this.#piece(written, run)));
    if (wasSeen) this.#mirror.lastElementChild.scrollIntoView({ block: "nearest" });
  }

  // Returns the run of a coloured piece that lies under a point of the window.
  runUnder(x, y) {
    return document.elementsFromPoint(x, y).map((each) => this.#runs.get(each)).find(Boolean);
  }

  // Returns the box of a run in the window: the widest of them, where it goes over several lines.
  boxOf(run) {
    const boxes = [...this.#pieceOf(run).getClientRects()];
    return boxes.reduce((widest, box) => (box.width > widest.width ? box : widest));
  }

  // Marks the run that the alternatives are of; undefined marks none.
  mark(run) {
    for (const [piece, each] of this.#runs) piece.classList.toggle("marked", each === run);
  }

  #pieceOf(run) {
    for (const [piece, each] of this.#runs) if (each === run) return piece;
    throw new Error("the run is not shown");
  }

  #piece(written, run) {
    const piece = document.createElement("span");
    piece.className = `surprise-${surprise(run.tokens)}`;
    piece.textContent = written.text.slice(run.start, run.end);
    this.#runs.set(piece, run);
    return piece;
  }

  #isEndSeen() {
    const last = this.#mirror.lastElementChild;
    return last === null || last.getBoundingClientRect().bottom < innerHeight;
  }
}

// Returns how surprising tokens are together, as a level from 0 to 4.
function surprise(tokens) {
  const probability = Math.exp(Math.min(...tokens.map((token) => token.logprob)));
  const level = LEVELS.findIndex((least) => probability >= least);
  return level < 0 ? LEVELS.length : level;
}
