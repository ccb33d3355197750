// Continues a prompt in the page as it is generated, with transformers.js over onnxruntime-web.
//
// ?model=NAME is a folder beside this page; ?dtype=fp32, fp16, q8 or q4 is the graph to begin with.

import { availableDtypes } from "./graphs.js";
import { discardTransformers, transformers } from "./library.js";
import { InputError, readRequest } from "./request.js";

const $ = (id) => document.getElementById(id);
const options = new URLSearchParams(location.search);
const folder = options.get("model") ?? "model";
let library = null;
let generator = null;
let stopping = null; // of the text that is being written

function say(text, isError = false) {
  $("state").textContent = text;
  $("state").classList.toggle("error", isError);
}

// Enables what can be used now; `activity` is loading, ready, writing or broken.
function become(activity) {
  $("progress").hidden = activity !== "loading";
  $("go").disabled = activity !== "ready";
  $("stop").disabled = activity !== "writing";
  $("dtype").disabled = activity === "loading" || activity === "writing";
  $("copy").disabled = activity === "writing" || $("text").textContent === "";
}

async function listDtypes() {
  const dtypes = await availableDtypes(folder);
  $("dtype").replaceChildren(...dtypes.map((dtype) => new Option(dtype, dtype)));
  const asked = options.get("dtype") ?? dtypes[0];
  $("dtype").value = dtypes.includes(asked) ? asked : "";
  if (!dtypes.includes(asked)) {
    throw new Error(`${folder} has no ${asked}; choose one of ${dtypes.join(", ")}`);
  }
}

function megabytes(bytes) {
  return (bytes / 1e6).toFixed(1);
}

async function load() {
  become("loading");
  const dtype = $("dtype").value;
  say(`loading ${dtype}…`);
  await generator?.dispose();
  generator = null;
  library = await transformers();
  generator = await library.pipeline("text-generation", folder, {
    dtype,
    progress_callback: ({ status, progress, loaded, total }) => {
      if (status !== "progress_total") return;
      $("progress").value = progress;
      const size = `${megabytes(loaded)} of ${megabytes(total)} MB`;
      say(loaded < total ? `loading ${dtype}: ${size}` : `loaded ${size}; starting ${dtype}…`);
    },
  });
}

// Loads the chosen graph; says `done` where that succeeds.
async function loadOrSay(done = "ready", isError = false) {
  try {
    await load();
    become("ready");
    say(done, isError);
  } catch (error) {
    discard();
    become("broken");
    say(`the model cannot be loaded: ${error.message ?? error}`, true);
  }
}

function discard() {
  discardTransformers();
  generator = null;
}

async function write({ prompt, newTokens, temperature, seed }) {
  const start = performance.now();
  let count = 0;
  stopping = new library.InterruptableStoppingCriteria();
  $("read").textContent = prompt;
  $("written").textContent = "";
  say("reading the prompt…");
  const streamer = new library.TextStreamer(generator.tokenizer, {
    skip_prompt: true,
    skip_special_tokens: true,
    callback_function: (text) => $("written").append(text),
    token_callback_function: () => {
      count += 1;
      const rate = (1000 * count) / (performance.now() - start);
      say(`${count} tokens, ${rate.toFixed(1)} a second`);
    },
  });
  const samples = temperature > 0;
  library.random.seed(seed); // transformers.js draws its tokens from this generator
  await generator(prompt, {
    max_new_tokens: newTokens,
    do_sample: samples,
    ...(samples && { temperature }),
    streamer,
    stopping_criteria: stopping,
  });
  const end = stopping.interrupted ? "stopped" : "done";
  say(`${$("state").textContent}${samples ? `, seed ${seed}` : ""}, ${end}`);
}

// Points to the field that cannot be run, and says why.
function refuse(error) {
  say(error.message, true);
  $(error.field).setAttribute("aria-invalid", "true");
  $(error.field).focus();
}

function request() {
  for (const field of $("form").elements) field.removeAttribute("aria-invalid");
  const context = generator.model.config.max_position_embeddings;
  return readRequest($("form").elements, (text) => generator.tokenizer.encode(text).length, context);
}

async function submit() {
  try {
    const asked = request();
    become("writing");
    await write(asked);
    become("ready");
  } catch (error) {
    if (error instanceof InputError) return refuse(error);
    discard();
    await loadOrSay(`failed: ${error.message ?? error}; the model was loaded again`, true);
  }
}

async function copy() {
  try {
    await navigator.clipboard.writeText($("text").textContent);
    say("copied");
  } catch {
    getSelection().selectAllChildren($("text"));
    say("the browser allows no copying by a page; the text is selected: copy it yourself", true);
  }
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!$("go").disabled) submit();
});
$("stop").addEventListener("click", () => stopping.interrupt());
$("copy").addEventListener("click", copy);
$("dtype").addEventListener("change", () => loadOrSay());

try {
  await listDtypes();
  await loadOrSay();
} catch (error) {
  become("broken");
  say(`the model cannot be loaded: ${error.message ?? error}`, true);
}
