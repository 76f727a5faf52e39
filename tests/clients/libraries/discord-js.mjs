// A bot on discord.js: says when it is ready, answers a message over REST, and logs out when standard input ends.
import { Client, Events, GatewayIntentBits } from "discord.js";

const print = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));

const { Guilds, GuildMessages, MessageContent } = GatewayIntentBits;
const client = new Client({ intents: [Guilds, GuildMessages, MessageContent] });

client.on(Events.ClientReady, () => {
  print("ready", { user: client.user.username, guilds: client.guilds.cache.size });
});

client.on(Events.MessageCreate, async (message) => {
  print("message", { content: message.content });
  const answer = await message.channel.send("hello to you");
  print("answered", { content: answer.content });
});

client.on(Events.ShardDisconnect, ({ code }) => print("disconnected", { code }));
client.on(Events.Error, (error) => print("error", { message: error.message }));

await client.login(process.env.DISCORD_BOT_TOKEN);

process.stdin.on("end", async () => {
  await client.destroy();
  print("closed");
});
process.stdin.resume();
