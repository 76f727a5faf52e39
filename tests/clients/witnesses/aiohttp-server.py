"""An HTTPS server on aiohttp that tells each request as it understood it. Arguments: certificate and key, as files."""

import asyncio
import json
import ssl
import sys

from aiohttp import web

requests = 0


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def remember(tls, host, context):
    tls.asked_for = host


async def handle(request):
    global requests
    number = requests
    requests += 1
    host = request.transport.get_extra_info("ssl_object").asked_for
    say("request", number=number, host=host, method=request.method, target=request.raw_path)
    say("body", number=number, body=(await request.read()).decode("latin-1"))
    return web.Response(text="seen")


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*sys.argv[1:])
    context.sni_callback = remember
    server = web.Server(handle, keepalive_timeout=0.3, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, ssl=context)
    say("listening", port=listener.sockets[0].getsockname()[1])
    await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
