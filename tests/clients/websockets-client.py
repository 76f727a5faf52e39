"""A Discord bot's connection with the Python library `websockets`, which knows nothing of proxies here.

Its token is DISCORD_BOT_TOKEN. It prints one JSON object a line. ECHO=n sends n messages after READY and compares what
comes back; HOLD=1 stays connected until standard input ends.
"""

import json
import os
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def payload(number):
    return {"number": number, "text": "grüße " * (number * 7 % 500)}


def converse(socket):
    messages = int(os.environ.get("ECHO", "0"))
    hello = json.loads(socket.recv())
    say("hello", interval=hello["d"]["heartbeat_interval"])
    socket.send(json.dumps({"op": 1, "d": None}))
    assert json.loads(socket.recv())["op"] == 11
    say("heartbeat-ack")
    properties = {"os": "linux", "browser": "websockets-client", "device": "websockets-client"}
    login = {"token": os.environ["DISCORD_BOT_TOKEN"], "intents": 513, "properties": properties}
    socket.send(json.dumps({"op": 2, "d": login}))
    ready = json.loads(socket.recv())
    assert ready["t"] == "READY", ready
    say("ready", user=ready["d"]["user"]["username"])
    unchanged = True
    for number in range(messages):
        socket.send(json.dumps({"op": 100, "d": payload(number)}, ensure_ascii=False))
        unchanged &= json.loads(socket.recv())["d"] == payload(number)
    if messages:
        say("echoed", messages=messages, unchanged=unchanged)
    if os.environ.get("HOLD") == "1":
        sys.stdin.read()


def main():
    try:
        with connect("wss://gateway.discord.gg/?v=10&encoding=json", proxy=None) as socket:
            say("open", peer=str(socket.socket.getpeername()))
            converse(socket)
        say("close", code=1000)
    except ConnectionClosed as closed:
        say("close", code=closed.rcvd.code if closed.rcvd else None)
        sys.exit(1)


main()
