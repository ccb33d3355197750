// A completion that comes in parts: POST v1/completions with `stream`, in OpenAI's form.

export class ServerError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status; // null where the server did not answer, or no more
  }
}

const GONE = "the server does not answer; check that it runs, and try again";

// Sends a request; returns the response, or throws the ServerError that it stands for.
export async function send(address, { key, ...options }) {
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  let response;
  try {
    response = await fetch(address, { cache: "no-store", ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(GONE, null);
  }
  if (!response.ok) throw new ServerError(await errorMessage(response), response.status);
  return response;
}

// Yields { text, tokens, finishReason, usage } for each part of a completion.
export async function* complete(request, { key, signal }) {
  const response = await send("v1/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } }),
    key,
    signal,
  });
  for await (const part of parts(response.body)) {
    if (part.error) throw new ServerError(part.error.message, response.status);
    const [choice] = part.choices;
    yield {
      text: choice?.text ?? "",
      tokens: tokensOf(choice?.logprobs),
      finishReason: choice?.finish_reason ?? null,
      usage: part.usage ?? null,
    };
  }
}

// Yields the JSON of each server-sent event, up to [DONE].
async function* parts(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  for (;;) {
    const { value, done } = await next(reader);
    if (done) throw new ServerError("the server ended in the middle of the text", null);
    const events = (pending + value).split(/\r?\n\r?\n/);
    pending = events.pop();
    for (const event of events) {
      const lines = event.split(/\r?\n/).filter((line) => line.startsWith("data:"));
      const data = lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n");
      if (data === "[DONE]") return;
      if (data !== "") yield JSON.parse(data);
    }
  }
}

async function next(reader) {
  try {
    return await reader.read();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("the connection to the server was lost; what came is kept", null);
  }
}

function tokensOf(logprobs) {
  return (logprobs?.tokens ?? []).map((text, i) => {
    const top = Object.entries(logprobs.top_logprobs?.[i] ?? {});
    const alternatives = top.map(([other, logprob]) => ({ text: other, logprob }));
    alternatives.sort((a, b) => b.logprob - a.logprob);
    return { text, logprob: logprobs.token_logprobs[i], alternatives };
  });
}

async function errorMessage(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `the server answers with status ${response.status}`;
  }
}
