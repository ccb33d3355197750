// Greedy text from the fused graph that `gptneo-onnx export CHECKPOINT OUT` writes.
//
//     npm install --ignore-scripts
//     node fused.mjs OUT "It is a truth" [NEW_TOKENS]
//
// A layer's past and present are the same tensor: the graph updates it in place without a copy.
// docs/graphs.md says what each input means.

import path from "node:path";
import { AutoTokenizer, env } from "@huggingface/transformers";
import * as ort from "onnxruntime-node";
import { checkRoom, fusedModel, stop, tokenCount } from "./arguments.mjs";

const CHUNK = 256; // of a prompt; longer steps are slower
const ARRAYS = { float32: Float32Array, float16: Uint16Array };

const [directory, prompt, newTokens = "50"] = process.argv.slice(2);
if (!prompt) stop("usage: node fused.mjs OUT PROMPT [NEW_TOKENS]");
const model = fusedModel(directory);
const count = tokenCount(newTokens);
env.allowRemoteModels = false;
env.localModelPath = path.dirname(model);
const tokenizer = await AutoTokenizer.from_pretrained(path.basename(model));
const session = await ort.InferenceSession.create(path.join(model, "model.onnx"), {
  extra: { session: { set_denormal_as_zero: "1" } }, // several times faster on x86
});

const ids = tokenizer.encode(prompt);
checkRoom(model, ids.length, count);
const capacity = ids.length + count;
const past = {};
const present = {};
for (const { name, type, shape } of session.inputMetadata) {
  if (!name.startsWith("past_key_values.")) continue;
  // [batch, heads, capacity, head_dim]; local layers fix their capacity, which is their window.
  const dims = [1, shape[1], typeof shape[2] === "number" ? shape[2] : capacity, shape[3]];
  const size = dims.reduce((product, axis) => product * axis);
  past[name] = new ort.Tensor(type, new ARRAYS[type](size), dims);
  present[name.replace("past_key_values", "present")] = past[name];
}

const int64 = (values, dims) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), dims);
const int32 = (value, dims) => new ort.Tensor("int32", Int32Array.of(value), dims);

// Appends tokens after the `length` in the caches and returns the likeliest next token.
async function step(tokens, length) {
  const total = length + tokens.length;
  const feeds = {
    input_ids: int64(tokens, [1, tokens.length]),
    position_ids: int64(tokens.map((_, index) => length + index), [1, tokens.length]),
    seqlens_k: int32(total - 1, [1]),
    total_sequence_length: int32(total, []),
    logits_rows: int64([0, tokens.length - 1], [1, 2]),
    ...past,
  };
  const { logits } = await session.run(feeds, { logits: null, ...present });
  return logits.data.reduce((best, score, id, all) => (score > all[best] ? id : best), 0);
}

let next;
for (let start = 0; start < ids.length; start += CHUNK) {
  next = await step(ids.slice(start, start + CHUNK), start);
}
const end = tokenizer.eos_token_id;
while (true) {
  if (next === end) break;
  ids.push(next);
  if (ids.length === capacity) break;
  next = await step([next], ids.length - 1);
}
console.log(tokenizer.decode(ids, { skip_special_tokens: true }));
