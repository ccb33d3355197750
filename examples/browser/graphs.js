// Which graphs an exported model has: transformers.js finds a dtype's graph by its file name.

const FILES = {
  fp32: "model.onnx",
  fp16: "model_fp16.onnx",
  q8: "model_quantized.onnx",
  q4: "model_q4.onnx",
};

async function exists(address) {
  return (await fetch(address, { method: "HEAD" })).ok;
}

// Returns the dtypes that a folder has graphs of, by asking the server for each.
export async function availableDtypes(folder) {
  const dtypes = Object.keys(FILES);
  const found = await Promise.all(dtypes.map((dtype) => exists(`${folder}/onnx/${FILES[dtype]}`)));
  const available = dtypes.filter((_, index) => found[index]);
  if (available.length === 0) {
    throw new Error(
      `there is no graph in ${folder}/onnx; make it with: gptneo-onnx export CHECKPOINT ` +
        `examples/browser/${folder} --layout transformers.js`,
    );
  }
  return available;
}
