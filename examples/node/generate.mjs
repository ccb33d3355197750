// Continues a text, from a directory that `gptneo-onnx export CHECKPOINT OUT --layout transformers.js`
// wrote.
//
//     npm install --ignore-scripts
//     node generate.mjs OUT "It is a truth" [NEW_TOKENS] [fp32 | fp16 | q8 | q4]

import path from "node:path";
import { env, pipeline } from "@huggingface/transformers";

const [directory, prompt, newTokens = "50", dtype = "fp32"] = process.argv.slice(2);
if (prompt === undefined) {
  console.error("usage: node generate.mjs OUT PROMPT [NEW_TOKENS] [DTYPE]");
  process.exit(2);
}
const model = path.resolve(directory);
env.allowRemoteModels = false;
env.localModelPath = path.dirname(model);

const generator = await pipeline("text-generation", path.basename(model), { dtype });
const [{ generated_text }] = await generator(prompt, {
  max_new_tokens: Number(newTokens),
  do_sample: false,
});
console.log(generated_text);
