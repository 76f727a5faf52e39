// The library @anthropic-ai/sdk: answers that stream, and one that does not. What it prints is compared.
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ apiKey: process.env.TOKEN });
const request = { model: "claude-test", max_tokens: 64, messages: [{ role: "user", content: "Say hello: grüße" }] };

const whole = await client.messages.create(request);
console.log(whole.content);
const stream = client.messages.stream(request);
stream.on("text", (text) => console.log(JSON.stringify(text)));
console.log((await stream.finalMessage()).content);
for await (const event of await client.messages.create({ ...request, stream: true })) console.log(event.type);
// The other place for a credential.
const other = new Anthropic({ apiKey: null, authToken: process.env.TOKEN });
console.log((await other.messages.create(request)).id);
