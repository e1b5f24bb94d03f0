# Copyright The Serinus Authors.
# SPDX-License-Identifier: Apache-2.0

"""A model server for scikit-learn models that speaks KServe's v1 protocol.

It serves the one model file in --model_dir:

    GET  /v1/models/<name>           whether it is ready
    POST /v1/models/<name>:predict   {"instances": [[...], ...]} -> {"predictions": [...]}

Each answer names, in X-Served-By, the pod that gave it. When the pod is to end,
it goes on answering for a while, as a gateway learns of that only later.
"""

import argparse
import json
import os
import pathlib
import signal
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import joblib

MODEL_SUFFIXES = (".joblib", ".pkl", ".pickle")
DRAIN_SECONDS = float(os.environ.get("DRAIN_SECONDS", "5"))
MAX_BODY_BYTES = 1 << 20

leaving = threading.Event()


class BadRequest(Exception):
    """A request that the client has to change."""


def load(folder):
    files = sorted(p for p in pathlib.Path(folder).iterdir() if p.suffix in MODEL_SUFFIXES)
    if len(files) != 1:
        found = ", ".join(p.name for p in files) or "none"
        raise SystemExit(f"{folder} must hold one file that ends in {' or '.join(MODEL_SUFFIXES)}; there is {found}")
    return joblib.load(files[0])


def predict(model, body):
    try:
        instances = json.loads(body)["instances"]
    except (ValueError, TypeError, KeyError):
        raise BadRequest('the body must be JSON: {"instances": [[...], ...]}') from None
    try:
        return {"predictions": model.predict(instances).tolist()}
    except ValueError as err:
        raise BadRequest(f"the model does not take these instances: {err}") from err


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    model_name = model = None
    pod = socket.gethostname()

    def do_GET(self):
        if self.path == f"/v1/models/{self.model_name}":
            self.answer(HTTPStatus.OK, {"name": self.model_name, "ready": True})
        elif self.path == "/v1/models":
            self.answer(HTTPStatus.OK, {"models": [self.model_name]})
        elif self.path == "/":
            self.answer(HTTPStatus.OK, {"status": "alive"})
        else:
            self.not_found()

    def do_POST(self):
        try:
            body = self.body()
            if self.path != f"/v1/models/{self.model_name}:predict":
                self.not_found()
                return
            self.answer(HTTPStatus.OK, predict(self.model, body))
        except BadRequest as err:
            self.answer(HTTPStatus.BAD_REQUEST, {"error": str(err)})

    def body(self):
        try:
            length = int(self.headers["Content-Length"])
        except (TypeError, ValueError):
            self.close_connection = True
            raise BadRequest("the request has no Content-Length") from None
        if not 0 <= length <= MAX_BODY_BYTES:
            self.close_connection = True
            raise BadRequest(f"the body must not be longer than {MAX_BODY_BYTES} bytes")
        return self.rfile.read(length)

    def not_found(self):
        self.answer(HTTPStatus.NOT_FOUND, {"error": f"{self.path} is not here; the model is /v1/models/{self.model_name}"})

    def answer(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Served-By", self.pod)
        if leaving.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, code="-", size="-"):
        pass  # There are hundreds a second.


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_name", required=True)
    parser.add_argument("--model_dir", default="/mnt/models")
    parser.add_argument("--http_port", type=int, default=8080)
    args = parser.parse_args()

    Handler.model_name, Handler.model = args.model_name, load(args.model_dir)
    server = Server(("", args.http_port), Handler)  # From here on it is ready.

    def leave(*_):
        leaving.set()
        threading.Timer(DRAIN_SECONDS, server.shutdown).start()

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    print(f"model {args.model_name} is served on port {args.http_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
