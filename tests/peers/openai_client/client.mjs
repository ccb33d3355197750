// What OpenAI's client for Node gets of a server, as one line of JSON.
// node client.mjs ADDRESS
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "none", maxRetries: 0 });
const text = { model: "tiny", prompt: "She was", seed: 5, max_tokens: 12 };
const chat = {
  model: "tiny", messages: [{ role: "user", content: "Hi" }], seed: 5, max_tokens: 8,
};

const whole = await client.completions.create({ ...text, logprobs: 1 });
let streamed = "";
let usage = null;
const options = { stream: true, stream_options: { include_usage: true } };
for await (const chunk of await client.completions.create({ ...text, ...options })) {
  streamed += chunk.choices[0]?.text ?? "";
  usage = chunk.usage ?? usage;
}
const answer = await client.chat.completions.create(chat);
const runner = client.chat.completions.stream(chat);
const answerStreamed = await runner.finalContent();
const embedding = await client.embeddings.create({ model: "tiny", input: "She was" });
const models = [];
for await (const model of client.models.list()) models.push(model.id);
let refusal = null;
try {
  await client.completions.create({ ...text, model: "other" });
} catch (error) {
  refusal = { status: error.status, code: error.code, message: error.message };
}
// The connection is closed in the midst of a text.
const stream = await client.completions.create({ ...text, max_tokens: 500, stream: true });
for await (const chunk of stream) break;

console.log(JSON.stringify({
  text: whole.choices[0].text, logprobs: whole.choices[0].logprobs, streamed, usage,
  answer: answer.choices[0].message.content, answerStreamed,
  embedding: embedding.data[0].embedding, models, refusal,
}));
