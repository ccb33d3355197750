// Reads {"directories": [...], "texts": [...]} from standard input; prints, for each directory, what its
// tokenizer makes of each text in transformers.js: ids with and without special tokens, decoded texts.

import { readFileSync } from "node:fs";
import path from "node:path";
import { AutoTokenizer, env } from "@huggingface/transformers";

const { directories, texts } = JSON.parse(readFileSync(0, "utf8"));
env.allowRemoteModels = false;
const results = [];
for (const directory of directories) {
  env.localModelPath = path.dirname(directory);
  const tokenizer = await AutoTokenizer.from_pretrained(path.basename(directory));
  results.push(
    texts.map((text) => {
      const ids = tokenizer.encode(text);
      return {
        ids,
        plain: tokenizer.encode(text, { add_special_tokens: false }),
        decoded: ids.length ? tokenizer.decode(ids) : "",
        skipped: ids.length ? tokenizer.decode(ids, { skip_special_tokens: true }) : "",
      };
    }),
  );
}
console.log(JSON.stringify(results));
