// Continues a text, from a directory that `gptneo-onnx export CHECKPOINT OUT --layout transformers.js`
// wrote.
//
//     npm install --ignore-scripts
//     node generate.mjs OUT "It is a truth" [NEW_TOKENS] [fp32 | fp16 | q8 | q4]

import path from "node:path";
import { env, pipeline } from "@huggingface/transformers";
import { checkedDtype, checkRoom, stop, tokenCount, transformersJsModel } from "./arguments.mjs";

const [directory, prompt, newTokens = "50", dtype = "fp32"] = process.argv.slice(2);
if (!prompt) stop("usage: node generate.mjs OUT PROMPT [NEW_TOKENS] [DTYPE]");
const model = transformersJsModel(directory);
const settings = { max_new_tokens: tokenCount(newTokens), do_sample: false };
env.allowRemoteModels = false;
env.localModelPath = path.dirname(model);

const generator = await pipeline("text-generation", path.basename(model), {
  dtype: checkedDtype(model, dtype),
});
checkRoom(model, generator.tokenizer.encode(prompt).length, settings.max_new_tokens);
const [{ generated_text }] = await generator(prompt, settings);
console.log(generated_text);
