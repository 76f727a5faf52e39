"""Sends a login and a presence in the encoding that is asked for: etf by erlpack, msgpack by msgpack."""

import os
import sys

import erlpack
import msgpack
from websockets.sync.client import connect

ENCODING = sys.argv[1]
PACK = {"etf": erlpack.pack, "msgpack": msgpack.packb}[ENCODING]

with connect(
    f"wss://gateway.discord.gg/?v=10&encoding={ENCODING}",
    additional_headers={"X-Vector": ENCODING, "X-Quiet": "1"},
    compression=None,
) as socket:
    for op in (2, 3):
        data = {"token": os.environ["DISCORD_BOT_TOKEN"], "intents": 513}
        socket.send(PACK({"op": op, "d": data}))
