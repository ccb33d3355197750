// Prints the vector of each text, the mean of its tokens' hidden states, as a line of JSON. The
// directory comes from `gptneo-onnx export CHECKPOINT OUT --layout transformers.js --hidden-states=-1`.
//
//     npm install --ignore-scripts
//     node embed.mjs OUT "It is a truth" ["another text" ...]

import path from "node:path";
import { env, pipeline } from "@huggingface/transformers";

const [directory, ...texts] = process.argv.slice(2);
if (texts.length === 0) {
  console.error("usage: node embed.mjs OUT TEXT...");
  process.exit(2);
}
const model = path.resolve(directory);
env.allowRemoteModels = false;
env.localModelPath = path.dirname(model);

const extractor = await pipeline("feature-extraction", path.basename(model), { dtype: "fp32" });
for (const text of texts) {
  const [vector] = (await extractor(text, { pooling: "mean" })).tolist();
  console.log(JSON.stringify(vector));
}
