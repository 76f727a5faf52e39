"""Tries what it is told to, as a hostile program would, and tells what it saw.

Reads a JSON line for each attempt, `{"id": …, "try": NAME, "with": {…}}`, and answers with one: `said` is how the attempt
ended, `received` what came back, in base64. Each is tried in a process of its own, whose number is told.
"""

import base64
import errno
import json
import os
import signal
import sys

import armed
import around
import daemon_side
import names
import packets
import spaces
import streams
import web
from kernel import PROCESSES

PATIENCE = 8


def attempt(order, answer):
    tried = order["try"].replace("-", "_")
    rooms = [streams, packets, spaces, around, armed, daemon_side, names, web]
    function = next(getattr(room, tried) for room in rooms if hasattr(room, tried))
    said = function(**order.get("with", {}))
    if isinstance(said, tuple):
        said, received = said
        answer["received"] = base64.b64encode(received).decode()
    answer["said"] = said


def child(order, out):
    answer = {"event": "tried", "id": order["id"], "pids": PROCESSES}
    PROCESSES.append(os.getpid())

    def late(*_):
        raise TimeoutError(errno.ETIME, "no end")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    try:
        attempt(order, answer)
    except OSError as error:
        # Python's own deadlines have no number.
        number = error.errno or (errno.ETIMEDOUT if isinstance(error, TimeoutError) else None)
        answer["said"] = f"refused {errno.errorcode.get(number, error)}"
    # Whatever else a hostile program stumbles over is told as it is.
    except BaseException as error:
        answer["said"] = f"failed {type(error).__name__}: {error}"
    os.write(out, (json.dumps(answer) + "\n").encode())


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    print(json.dumps({"event": "ready"}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            child(order, 1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            told = {"event": "tried", "id": order["id"], "pids": [pid]}
            print(json.dumps({**told, "said": f"killed {os.WTERMSIG(status)}"}), flush=True)


if __name__ == "__main__":
    main()
