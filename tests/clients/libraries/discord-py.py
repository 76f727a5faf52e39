"""A bot on discord.py: says when it is ready, answers a message over REST, and logs out when standard input ends."""

import asyncio
import json
import os
import sys

import discord


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


class Bot(discord.Client):
    async def on_ready(self):
        say("ready", user=self.user.name, guilds=len(self.guilds))

    async def on_message(self, message):
        if message.author == self.user:
            return
        say("message", content=message.content)
        answer = await message.channel.send("hello to you")
        say("answered", content=answer.content)


async def main():
    intents = discord.Intents(guilds=True, guild_messages=True, message_content=True)
    async with Bot(intents=intents) as bot:
        running = asyncio.create_task(bot.start(os.environ["DISCORD_BOT_TOKEN"]))
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        await asyncio.wait([running, ended], return_when=asyncio.FIRST_COMPLETED)
        await bot.close()
        await running
    say("closed")


asyncio.run(main())
