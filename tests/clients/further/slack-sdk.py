"""An app on slack_sdk: Socket Mode over its own WebSocket client, and an answer over the Web API."""

import json
import os
import sys

from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web import WebClient


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def listen(client, request):
    say("message", content=request.payload["event"]["text"])
    client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))
    answer = client.web_client.chat_postMessage(
        channel=request.payload["event"]["channel"], text="hello"
    )
    say("answered", content=answer["message"]["text"])


web = WebClient(token=os.environ["SLACK_BOT_TOKEN"])
client = SocketModeClient(app_token=os.environ["SLACK_APP_TOKEN"], web_client=web)
client.socket_mode_request_listeners.append(listen)
client.connect()
say("ready", user=web.auth_test()["user"])
sys.stdin.read()
client.close()
say("closed")
