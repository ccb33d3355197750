// Puts the page together: what is typed is continued by the server, and shown as it comes.

import { Alternatives, spoken } from "./alternatives.js";
import { complete } from "./completions.js";
import { TextDocument } from "./document.js";
import { Editor } from "./editor.js";
import { FieldError, readSettings, showSliders } from "./settings.js";
import { deceptiveCharacters } from "./shown_text.js";
import { inWords, watchStatus } from "./server_status.js";
import { Progress } from "./progress.js";

const LOGPROBS = 5;
const NAVIGATION = /^(Arrow|Home|End|Page)/;
const $ = (id) => document.getElementById(id);

const written = new TextDocument();
const editor = new Editor();
const alternatives = new Alternatives(editor, chooseInstead);
let running = null; // the AbortController of the completion that comes
let isReachable = true;

// Says one clear line, or with "" nothing.
function say(text) {
  $("message").textContent = text;
  $("message").hidden = text === "";
}

function announce(text) {
  $("announcement").textContent = text;
}

// Enables what can be done now.
function refresh() {
  const isRunning = running !== null;
  const hadFocus = [$("go"), $("stop")].includes(document.activeElement);
  $("go").hidden = isRunning;
  $("stop").hidden = !isRunning;
  if (hadFocus) $(isRunning ? "stop" : "go").focus();
  $("again").disabled = isRunning || written.continuedFrom === null;
  $("undo").disabled = isRunning || !written.canUndo;
  $("redo").disabled = isRunning || !written.canRedo;
  editor.field.readOnly = isRunning;
  $("writing").setAttribute("aria-busy", String(isRunning));
  const names = deceptiveCharacters(written.text);
  $("invisible").hidden = names.length === 0;
  $("invisible").textContent = `The text has characters that nobody sees: ${names.join(", ")}.`;
}

function showAll() {
  alternatives.hide();
  editor.show(written);
  refresh();
}

// Continues the text, or what lies of it before a position, with other text put there.
async function generate(at = written.text.length, inserted = "") {
  if (running) return;
  say("");
  let settings;
  try {
    settings = readRequest(at + inserted.length);
  } catch (error) {
    return refuse(error);
  }
  const progress = new Progress(settings.seed, announce);
  written.begin(at, inserted);
  running = new AbortController();
  showAll();
  let pending = [];
  try {
    const options = { key: $("key").value, signal: running.signal };
    for await (const part of complete({ ...settings, prompt: written.text }, options)) {
      pending.push(...part.tokens);
      if (part.text !== "") {
        editor.append(written, appendPart(part.text, pending));
        pending = [];
      }
      progress.take(part);
    }
    progress.finish();
  } catch (error) {
    progress.finish(error.name === "AbortError");
    if (error.name !== "AbortError") fail(error);
  } finally {
    running = null;
    written.forgetEmpty();
    const end = written.text.length;
    editor.field.setSelectionRange(end, end);
    refresh();
    askStatus();
  }
}

// Appends a part's text: a run for each token, or one for all where they do not spell it.
function appendPart(text, tokens) {
  const plain = text.replace(/\r\n?/g, "\n"); // as fields of forms keep it
  if (tokens.map((token) => token.text).join("") !== plain) return [written.append(plain, tokens)];
  return tokens.map((token) => written.append(token.text, [token]));
}

function readRequest(length) {
  for (const field of $("form").elements) field.removeAttribute("aria-invalid");
  if (length === 0) throw new FieldError("text", "type some words to begin with");
  return { model: $("model").value, logprobs: LOGPROBS, ...readSettings() };
}

// Points to the field that cannot be used, and says why.
function refuse(error) {
  if (!(error instanceof FieldError)) throw error;
  say(error.message);
  if ($("settings").contains($(error.field))) $("settings").open = true;
  $(error.field).setAttribute("aria-invalid", "true");
  $(error.field).focus();
}

function fail(error) {
  if (error.status === 401) return askForKey();
  say(error.message);
}

function askForKey() {
  $("key-field").hidden = false;
  $("settings").open = true;
  say($("key").value ? "the server does not know this API key" : "the server asks for an API key");
  if (document.activeElement !== $("key")) $("key").focus();
}

// Cuts the text at a run, puts another token there, and continues.
function chooseInstead(run, text) {
  editor.field.focus();
  generate(run.start, text);
}

function tryAgain() {
  const from = written.continuedFrom;
  if (!running && from !== null) generate(from);
}

function step(move) {
  if (running) return;
  move();
  showAll();
}

// Shows the alternatives of the token at the cursor, where it is moved and not typed with.
function showAtCursor() {
  const { selectionStart, selectionEnd } = editor.field;
  const run = selectionStart === selectionEnd ? written.runAt(selectionStart) : undefined;
  if (!run?.tokens.length || !$("colours").checked || running) return alternatives.hide();
  alternatives.show(run);
  announce(spoken(run));
}

function showUnder(event) {
  if (event.pointerType !== "mouse" || !$("colours").checked || event.buttons !== 0) return;
  if ($("alternatives").contains(event.target)) return;
  const run = editor.runUnder(event.clientX, event.clientY);
  if (run?.tokens.length) alternatives.showSoon(run);
  else if (alternatives.isShown) alternatives.hideSoon();
}

function showStatus({ models }) {
  if (!isReachable) say("");
  isReachable = true;
  if ($("model").options.length !== models.length) {
    $("model").replaceChildren(...models.map(({ name }) => new Option(name, name)));
    $("model-choice").hidden = models.length < 2;
    $("model-name").textContent = models.length < 2 ? models[0].name : "";
  }
  const chosen = models.find(({ name }) => name === $("model").value) ?? models[0];
  $("load").textContent = inWords(chosen);
}

function showNoStatus(error) {
  if (error.status === 401) return $("key-field").hidden && askForKey();
  if (isReachable) say(error.message);
  isReachable = false;
  $("load").textContent = "no answer";
}

function keyPressed(event) {
  const isCommand = event.ctrlKey || event.metaKey;
  if (event.key === "Enter" && isCommand) generate();
  else if (event.key === "Escape") running ? running.abort() : leaveAlternatives();
  else if (isCommand && event.key.toLowerCase() === "z" && event.target === editor.field) {
    step(() => (event.shiftKey ? written.redo() : written.undo()));
  } else return;
  event.preventDefault();
}

function leaveAlternatives() {
  if ($("alternatives").contains(document.activeElement)) editor.field.focus();
  alternatives.hide();
}

editor.field.addEventListener("input", () => {
  alternatives.hide();
  written.edit(editor.field.value);
  editor.show(written);
  refresh();
});
editor.field.addEventListener("keyup", ({ key }) => NAVIGATION.test(key) && showAtCursor());
editor.field.addEventListener("click", showAtCursor);
$("editor").addEventListener("pointermove", showUnder);
$("editor").addEventListener("pointerleave", () => alternatives.isShown && alternatives.hideSoon());
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  generate();
});
$("stop").addEventListener("click", () => running?.abort());
$("again").addEventListener("click", tryAgain);
$("undo").addEventListener("click", () => step(() => written.undo()));
$("redo").addEventListener("click", () => step(() => written.redo()));
$("keep-seed").addEventListener("click", () => ($("seed").value = $("used-seed").textContent));
$("colours").addEventListener("change", () => {
  $("editor").classList.toggle("plain", !$("colours").checked);
  alternatives.hide();
});
document.addEventListener("keydown", keyPressed);

showSliders();
const wide = matchMedia("(min-width: 60rem)"); // as in style.css
const unfoldWhereWide = () => ($("settings").open = wide.matches);
wide.addEventListener("change", unfoldWhereWide);
unfoldWhereWide();
if (editor.field.value) written.edit(editor.field.value); // what a browser has kept
showAll();
const askStatus = watchStatus(() => $("key").value, showStatus, showNoStatus);
$("key").addEventListener("change", () => {
  say("");
  askStatus();
});
