// A bot on @slack/rtm-api: says when it is connected, answers a message, and leaves when standard input ends.
import { RTMClient } from "@slack/rtm-api";

const print = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));

const client = new RTMClient(process.env.SLACK_BOT_TOKEN);

client.on("connected", () => print("ready"));
client.on("message", async (event) => {
  print("message", { content: event.text });
  const { text } = await client.sendMessage("hello to you", event.channel);
  print("answered", { content: text });
});

await client.start();

process.stdin.on("end", async () => {
  await client.disconnect();
  print("closed");
});
process.stdin.resume();
