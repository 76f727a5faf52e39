// A bot on @slack/rtm-api: says when it is connected, answers a message, and leaves when standard input ends.
import { RTMClient } from "@slack/rtm-api";

const print = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));

const client = new RTMClient(process.env.SLACK_BOT_TOKEN);

client.on("connected", () => print("ready"));
client.on("message", async (event) => {
  print("message", { content: event.text });
  // Not sendMessage: a reply that comes at once is too fast for it, and waiting for one keeps it from disconnecting.
  await client.addOutgoingEvent(false, "message", { text: "hello to you", channel: event.channel });
});
client.on("slack_event", (_, event) => {
  if (event.reply_to !== undefined) print("answered", { content: event.text });
});

await client.start();

process.stdin.on("end", async () => {
  await client.disconnect();
  print("closed");
});
process.stdin.resume();
