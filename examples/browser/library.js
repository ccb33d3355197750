// transformers.js, in a copy that can be thrown away.
//
// The library runs one model call after another in a chain of promises of its own. Once a call or a
// load has failed, every later one fails with the same error, of other models too. A fresh copy of
// the module has a fresh chain.

const FILE = "./node_modules/@huggingface/transformers/dist/transformers.min.js";
const WASM = "node_modules/onnxruntime-web/dist/";

// onnxruntime-web starts its worker itself, and has no way to end it with the memory that it holds.
const workers = [];
globalThis.Worker = class extends Worker {
  constructor(...settings) {
    super(...settings);
    workers.push(this);
  }
};

let copies = 0;
let current = null;

// Returns the module, set up to read models beside the page and nowhere else.
export async function transformers() {
  if (current === null) {
    copies += 1;
    current = await import(`${FILE}?copy=${copies}`);
    const { env } = current;
    env.allowRemoteModels = false;
    env.allowLocalModels = true;
    env.localModelPath = new URL(".", location.href).pathname;
    env.backends.onnx.wasm.wasmPaths = new URL(WASM, location.href).href;
    env.backends.onnx.wasm.proxy = true; // in a worker, so that the page stays responsive
  }
  return current;
}

// Has the next transformers() return a fresh copy; models of this one cannot be used any more.
export function discardTransformers() {
  current = null;
  for (const worker of workers.splice(0)) worker.terminate();
}
