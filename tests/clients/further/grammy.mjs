// A Telegram bot on grammY: long polling, an answer to a message, and an end when standard input ends.
import { Bot } from "grammy";

const print = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));

const bot = new Bot(process.env.TELEGRAM_BOT_TOKEN);
bot.on("message:text", async (context) => {
  print("message", { content: context.message.text });
  const answer = await context.reply("hello to you");
  print("answered", { content: answer.text });
});

process.stdin.on("end", async () => {
  await bot.stop();
});
process.stdin.resume();

await bot.start({ onStart: ({ username }) => print("ready", { user: username }) });
print("closed");
