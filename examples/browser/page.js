// Continues a prompt in the page as it is generated, with transformers.js over onnxruntime-web.
//
// ?model=NAME is a folder beside this page; ?dtype=fp32, fp16, q8 or q4 is one of its graphs.

import {
  env,
  InterruptableStoppingCriteria,
  pipeline,
  TextStreamer,
} from "./node_modules/@huggingface/transformers/dist/transformers.min.js";

env.allowRemoteModels = false;
env.allowLocalModels = true;
env.localModelPath = new URL(".", location.href).pathname;
env.backends.onnx.wasm.wasmPaths = new URL("node_modules/onnxruntime-web/dist/", location.href).href;
env.backends.onnx.wasm.proxy = true; // in a worker, so that the page stays responsive

const $ = (id) => document.getElementById(id);
const options = new URLSearchParams(location.search);
const stopping = new InterruptableStoppingCriteria();

async function load() {
  const generator = await pipeline("text-generation", options.get("model") ?? "model", {
    dtype: options.get("dtype") ?? "fp32",
    progress_callback: ({ status, progress }) => {
      if (status === "progress") $("progress").value = progress;
    },
  });
  $("progress").hidden = true;
  return generator;
}

async function write(generator) {
  const temperature = Number($("temperature").value);
  const start = performance.now();
  let count = 0;
  stopping.reset();
  $("text").textContent = $("prompt").value;
  const streamer = new TextStreamer(generator.tokenizer, {
    skip_prompt: true,
    skip_special_tokens: true,
    callback_function: (text) => $("text").append(text),
    token_callback_function: () => {
      count += 1;
      const rate = (1000 * count) / (performance.now() - start);
      $("state").textContent = `${count} tokens, ${rate.toFixed(1)} a second`;
    },
  });
  await generator($("prompt").value, {
    max_new_tokens: Number($("tokens").value),
    do_sample: temperature > 0,
    ...(temperature > 0 && { temperature }),
    streamer,
    stopping_criteria: stopping,
  });
  $("state").textContent += ", done";
}

try {
  const generator = await load();
  $("state").textContent = "ready";
  $("go").disabled = false;
  $("stop").addEventListener("click", () => stopping.interrupt());
  $("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    $("go").disabled = true;
    $("stop").disabled = false;
    try {
      await write(generator);
    } catch (error) {
      $("state").textContent = `failed: ${error.message ?? error}`;
    }
    $("go").disabled = false;
    $("stop").disabled = true;
  });
} catch (error) {
  $("progress").hidden = true;
  $("state").textContent = `the model cannot be loaded: ${error.message ?? error}`;
}
