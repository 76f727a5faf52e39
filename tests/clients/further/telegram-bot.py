"""A Telegram bot on python-telegram-bot: long polling, an answer to a message, and an end when standard input ends."""

import asyncio
import json
import os
import sys

from telegram.ext import Application, MessageHandler, filters


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


async def message(update, context):
    say("message", content=update.message.text)
    answer = await update.message.reply_text("hello to you")
    say("answered", content=answer.text)


async def main():
    application = Application.builder().token(os.environ["TELEGRAM_BOT_TOKEN"]).build()
    application.add_handler(MessageHandler(filters.TEXT, message))
    async with application:
        await application.start()
        await application.updater.start_polling()
        say("ready", user=application.bot.username)
        await asyncio.to_thread(sys.stdin.read)
        await application.updater.stop()
        await application.stop()
    say("closed")


asyncio.run(main())
