// REST by discord.js: a message, one with a file, and one that is deleted. What it prints is compared.
import { REST, Routes } from "discord.js";

const rest = new REST().setToken(process.env.TOKEN);
console.log((await rest.get(Routes.user("@me"))).username);
console.log((await rest.post(Routes.channelMessages("7"), { body: { content: "grüße" }, reason: "a reason: ü" })).id);
const files = [{ name: "a.bin", data: Buffer.alloc(300_000, 7) }];
console.log((await rest.post(Routes.channelMessages("7"), { body: { content: "a file" }, files })).id);
console.log((await rest.patch(Routes.channelMessage("7", "9"), { body: { content: "other" } })).id);
await rest.delete(Routes.channelMessage("7", "9"));
await rest.get("/nothing").catch(({ status, message }) => console.log(status, message));
