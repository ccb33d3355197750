// The arguments of these programs, checked. What is wrong is one line and exit status 2.

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

export const LAYOUT = "--layout transformers.js";
// transformers.js finds a dtype's graph by its file name, and takes another dtype where it has none.
const FILES = {
  fp32: "model.onnx",
  fp16: "model_fp16.onnx",
  q8: "model_quantized.onnx",
  q4: "model_q4.onnx",
};

// Prints a line and ends the program.
export function stop(line) {
  console.error(line);
  process.exit(2);
}

// Returns the command that exports a directory.
export function exportCommand(out, ...options) {
  return ["gptneo-onnx export CHECKPOINT", out, ...options].join(" ");
}

// Returns the absolute path of a model directory that has a file; `options` make it export one.
function modelDirectory(directory, file, options) {
  if (!existsSync(directory)) {
    stop(`there is no directory ${directory}; make it with: ${exportCommand(directory, ...options)}`);
  }
  if (!existsSync(path.join(directory, file))) {
    const command = exportCommand("OUT", ...options);
    stop(`${directory} has no ${file}; make a directory that has it with: ${command}`);
  }
  return path.resolve(directory);
}

// Returns the path of an export with a fused graph.
export function fusedModel(directory) {
  return modelDirectory(directory, "model.onnx", []);
}

// Returns the path of an export for transformers.js.
export function transformersJsModel(directory) {
  return modelDirectory(directory, "onnx", [LAYOUT]);
}

// Returns a dtype of which there is a graph in the model's directory.
export function checkedDtype(model, dtype) {
  const there = Object.keys(FILES).filter((name) => existsSync(path.join(model, "onnx", FILES[name])));
  if (!there.includes(dtype)) {
    stop(`DTYPE is ${dtype}; ${model} has ${there.join(", ") || "no graph"}`);
  }
  return dtype;
}

// Returns a number of tokens.
export function tokenCount(text) {
  if (!/^[1-9][0-9]{0,8}$/.test(text)) {
    stop(`NEW_TOKENS is ${text}; a whole number of at least 1 is allowed`);
  }
  return Number(text);
}

// Ends the program if a model has no room for a prompt's tokens and those that it is to write.
export function checkRoom(model, length, newTokens) {
  const config = JSON.parse(readFileSync(path.join(model, "config.json"), "utf8"));
  const context = config.max_position_embeddings;
  if (length === 0) stop("PROMPT has no tokens; begin with some words");
  if (length + newTokens > context) {
    stop(
      `PROMPT has ${length} tokens and NEW_TOKENS is ${newTokens}; the model holds ${context} ` +
        "together",
    );
  }
}
