"""A server on loopback that answers chat completions and logs every answer that it has handed over.

    python answer_server.py FOLDER      # prints its port; while FOLDER/pause exists, no answer leaves

FOLDER/served gets one line per answer: its number, a tab, the question. The answer names its number.
"""

import itertools
import json
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(sys.argv[1]) if __name__ == "__main__" else Path()
NUMBERS = itertools.count(1)
LEAVING = threading.Lock()


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(random.random() * 0.03)
        while True:
            with LEAVING:
                if not (FOLDER / "pause").exists():
                    self._answer(body)
                    return
            time.sleep(0.002)

    def _answer(self, body):
        number, question = next(NUMBERS), body["messages"][-1]["content"]
        text = f"answer {number} to {question}"
        usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12, "cost": 0.001}
        if body.get("stream"):
            chunks = [
                {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}]},
                {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
                {"choices": [], "usage": usage},
            ]
            said = "".join(f"data: {json.dumps({'id': 'x', 'model': 'm', **chunk})}\n\n" for chunk in chunks)
            data, kind = (said + "data: [DONE]\n\n").encode(), "text/event-stream"
        else:
            message = {"role": "assistant", "content": text}
            whole = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
            data, kind = json.dumps({"id": "x", "model": "m", **whole}).encode(), "application/json"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        try:
            self.wfile.write(data)
            self.wfile.flush()
        except OSError:
            return  # the client was killed before its answer left
        with (FOLDER / "served").open("a") as log:
            log.write(f"{number}\t{question}\n")

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        """A killed client is no error here."""


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Answers)
    print(server.server_address[1], flush=True)
    server.serve_forever()
