// An app on @slack/socket-mode: says when it is connected, acknowledges an event, and leaves when standard input ends.
import { SocketModeClient } from "@slack/socket-mode";

const print = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));

const client = new SocketModeClient({ appToken: process.env.SLACK_APP_TOKEN });

client.on("connected", () => print("ready"));
client.on("app_mention", async ({ event, ack }) => {
  print("message", { content: event.text });
  await ack();
  print("answered");
});
client.on("error", (error) => print("error", { message: error.message }));

await client.start();

process.stdin.on("end", async () => {
  await client.disconnect();
  print("closed");
});
process.stdin.resume();
