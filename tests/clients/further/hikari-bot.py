"""A bot on hikari: says when it is ready, answers a message over REST, and logs out when standard input ends."""

import asyncio
import json
import os
import sys

import hikari

bot = hikari.GatewayBot(
    os.environ["DISCORD_BOT_TOKEN"],
    banner=None,
    intents=hikari.Intents.GUILDS | hikari.Intents.GUILD_MESSAGES | hikari.Intents.MESSAGE_CONTENT,
)


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


@bot.listen()
async def available(event: hikari.GuildAvailableEvent):
    say("ready", user=bot.get_me().username, guilds=len(bot.cache.get_guilds_view()))


@bot.listen()
async def message(event: hikari.GuildMessageCreateEvent):
    if event.is_bot:
        return
    say("message", content=event.content)
    answer = await bot.rest.create_message(event.channel_id, "hello to you")
    say("answered", content=answer.content)


async def main():
    await bot.start(check_for_updates=False)
    await asyncio.to_thread(sys.stdin.read)
    await bot.close()
    say("closed")


asyncio.run(main())
