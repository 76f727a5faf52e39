// The library openai: answers that stream, and one that does not. What it prints is compared.
import OpenAI from "openai";

const client = new OpenAI({ apiKey: process.env.TOKEN });
const messages = [{ role: "user", content: "Say hello, please: grüße" }];

for await (const model of client.models.list()) console.log(model.id);
const whole = await client.chat.completions.create({ model: "gpt-test", messages });
console.log(whole.choices[0].message.content);
const chunks = await client.chat.completions.create({ model: "gpt-test", messages, stream: true });
for await (const chunk of chunks) console.log(JSON.stringify(chunk.choices[0]));
const events = await client.responses.create({ model: "gpt-test", input: "Say hello", stream: true });
for await (const event of events) console.log(event.type, event.delta);
