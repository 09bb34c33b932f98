// The Vercel AI SDK at a server of ours: what one use of it comes to, as JSON.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { DefaultChatTransport, streamText } from "ai";

const [url, use, prompt] = process.argv.slice(2);

async function text() {
  const model = createOpenAICompatible({ name: "ours", baseURL: `${url}/v1` })("ours");
  const parts = [];
  const { fullStream } = streamText({ model, prompt, maxRetries: 0, onError() {} });
  for await (const part of fullStream) parts.push({ type: part.type, text: part.text, error: part.error && String(part.error) });
  return parts;
}

async function chat() {
  const transport = new DefaultChatTransport({ api: `${url}/chat` });
  const messages = [{ id: "1", role: "user", parts: [{ type: "text", text: prompt }] }];
  const stream = await transport.sendMessages({ chatId: "1", messages, trigger: "submit-message" });
  const chunks = [];
  try {
    for await (const chunk of stream) chunks.push(chunk);
  } catch (error) {
    chunks.push({ type: "thrown", errorText: String(error) });
  }
  return chunks;
}

console.log(JSON.stringify(await { text, chat }[use]()));
