"""An own language model: whatever answers POST /v1/chat/completions, here forty lines of Python.

Every command of every role takes it as --lm http://HOST:PORT/v1#NAME; this one evaluates it.

    python examples/own_lm.py [--debug]
"""

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import understudy


def answer(question: str) -> str:
    """Put a model here. This one adds up all numbers that it sees."""
    return f"#### {sum(int(number) for number in re.findall(r'[0-9]+', question))}"


class Endpoint(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = answer(asked["messages"][-1]["content"])
        reply = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": asked["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        }
        body = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Says nothing."""


def main(debug: bool) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        lm = f"http://127.0.0.1:{server.server_port}/v1#adder"
        run = understudy.launch("policy eval", env="word-problems", lm=lm, problems=8, debug=debug)
        server.shutdown()
    last = understudy.read_metrics(run)[-1]
    print("right", last["test/accuracy"], "unreadable", last["test/share_unreadable"])


if __name__ == "__main__":
    main("--debug" in sys.argv)
