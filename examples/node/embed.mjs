// Prints the vector of each text, the mean of its tokens' hidden states, as a line of JSON. The
// directory comes from `gptneo-onnx export CHECKPOINT OUT --layout transformers.js --hidden-states=-1`.
//
//     npm install --ignore-scripts
//     node embed.mjs OUT "It is a truth" ["another text" ...]

import path from "node:path";
import { env, pipeline } from "@huggingface/transformers";
import { checkedDtype, exportCommand, LAYOUT, stop, transformersJsModel } from "./arguments.mjs";

const [directory, ...texts] = process.argv.slice(2);
if (texts.length === 0) stop("usage: node embed.mjs OUT TEXT...");
const model = transformersJsModel(directory);
const dtype = checkedDtype(model, "fp32");
env.allowRemoteModels = false;
env.localModelPath = path.dirname(model);

const extractor = await pipeline("feature-extraction", path.basename(model), { dtype });
// Without hidden states, transformers.js gives the mean of the logits.
if (!extractor.model.sessions.model.outputNames.includes("last_hidden_state")) {
  const command = exportCommand("OUT", LAYOUT, "--hidden-states=-1");
  stop(`${directory} has no hidden states; make a directory that has them with: ${command}`);
}
for (const text of texts) {
  const [vector] = (await extractor(text, { pooling: "mean" })).tolist();
  console.log(JSON.stringify(vector));
}
