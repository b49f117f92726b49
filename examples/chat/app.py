"""Answers what is posted to it: `curl localhost:8080 -d "Hello"`.

Knows no address, no model and no key: OPENAI_BASE_URL and OPENAI_MODEL come from the Workload's ConfigMap,
OPENAI_API_KEY from a Secret. The OpenAI client reads the first and the last by itself.
"""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from openai import APIError, OpenAI

MODEL = os.environ["OPENAI_MODEL"]
client = OpenAI()


class Chat(BaseHTTPRequestHandler):
    """One question, one answer."""

    def do_POST(self) -> None:
        """Ask the model what the body says."""
        question = self.rfile.read(int(self.headers["Content-Length"])).decode()
        try:
            answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": question}])
        except APIError as error:  # not serving yet, or a key of another workload: the caller should know
            self.reply(502, error.message)
        else:
            self.reply(200, answer.choices[0].message.content or "")

    def reply(self, status: int, text: str) -> None:
        """Send plain text."""
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Chat)
    print(f"{MODEL} is asked on port {server.server_port}", flush=True)
    server.serve_forever()
