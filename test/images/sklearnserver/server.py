# Copyright The Serinus Authors.
# SPDX-License-Identifier: Apache-2.0

"""A server for scikit-learn models that implements KServe's v1 protocol.

It serves the only model file in --model_dir:

    GET  /v1/models/<name>          -> {"name": "<name>", "ready": true}
    POST /v1/models/<name>:predict  {"instances": [[...], ...]} -> {"predictions": [...]}

The header X-Served-By of each response names the pod. Environment variables:

    DRAIN_SECONDS         how long to keep serving after SIGTERM, because gateways learn of it with a
                          delay (default 5)
    LISTEN_WHILE_LOADING  "true" opens the port before the model is loaded and answers 503 until then;
                          use it only if the runtime has a readiness probe for /v2/health/ready, because
                          the default probe considers a model ready when the port is open
"""

import argparse
import json
import os
import pathlib
import signal
import socket
import socketserver
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import joblib

MODEL_SUFFIXES = (".joblib", ".pkl", ".pickle")
MAX_BODY_BYTES = 16 << 20
FINISH_SECONDS = 10  # for requests that are in progress when the drain ends


class Failure(Exception):
    """An error response."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status


class Service:
    """One model and its endpoints."""

    def __init__(self, name):
        self.name = name
        self.model = None

    def load(self, folder):
        files = sorted(p for p in pathlib.Path(folder).glob("*") if p.suffix in MODEL_SUFFIXES and not p.is_dir())
        if len(files) != 1:
            found = ", ".join(p.name for p in files) or "none"
            raise SystemExit(f"{folder} must hold one file that ends in {' or '.join(MODEL_SUFFIXES)}; there is {found}")
        self.model = joblib.load(files[0])

    def get(self, path):
        if path == "/":
            return {"status": "alive"}
        if path == "/v2/health/live":
            return {"live": True}
        if path == "/v2/health/ready":
            self.require_ready(self.name)
            return {"ready": True}
        if path == "/v1/models":
            return {"models": [self.name]}
        for prefix, suffix in (("/v1/models/", ""), ("/v2/models/", "/ready")):
            name = path[len(prefix) : len(path) - len(suffix)]
            if path.startswith(prefix) and path.endswith(suffix) and name:
                self.require_ready(name)
                return {"name": name, "ready": True}
        raise Failure(HTTPStatus.NOT_FOUND, f"There is nothing at {path}; the model is at /v1/models/{self.name}.")

    def post(self, path, body):
        prefix, suffix = "/v1/models/", ":predict"
        if not (path.startswith(prefix) and path.endswith(suffix)):
            raise Failure(HTTPStatus.NOT_FOUND, f"There is nothing at {path}; post to /v1/models/{self.name}:predict.")
        self.require_ready(path[len(prefix) : -len(suffix)])
        return {"predictions": self.predict(instances_of(body))}

    def require_ready(self, name):
        if name != self.name:
            raise Failure(HTTPStatus.NOT_FOUND, f"Model with name {name} does not exist.")
        if self.model is None:
            raise Failure(HTTPStatus.SERVICE_UNAVAILABLE, f"Model with name {name} is not ready.")

    def predict(self, instances):
        try:
            return self.model.predict(instances).tolist()
        except (ValueError, TypeError, OverflowError) as err:
            raise Failure(HTTPStatus.BAD_REQUEST, f"The model does not take these instances: {err}") from err


def instances_of(body):
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise Failure(HTTPStatus.BAD_REQUEST, f"Unrecognized request format: {err}") from err
    instances = request.get("instances", request.get("inputs")) if isinstance(request, dict) else None
    if not isinstance(instances, list):
        raise Failure(HTTPStatus.BAD_REQUEST, 'Expected "instances" to be a list, as in {"instances": [[6.8, 2.8, 4.8, 1.4]]}.')
    return instances


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # Send a response in one piece.
    pod = socket.gethostname()

    def do_GET(self):
        self.respond(lambda service, path: service.get(path))

    def do_POST(self):
        self.respond(lambda service, path: service.post(path, self.body()))

    def respond(self, ask):
        with self.server.busy():
            try:
                content = ask(self.server.service, self.path.partition("?")[0])
                self.answer(HTTPStatus.OK, content)
            except Failure as failure:
                self.answer(failure.status, {"error": str(failure)})
            except ConnectionError:
                raise
            except Exception as err:
                self.log_error("%s: %r", self.path, err)
                self.answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": str(err)})

    def body(self):
        # The rest of an unread body would be parsed as the next request.
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self.close_connection = True
            raise Failure(HTTPStatus.LENGTH_REQUIRED, "The request has no Content-Length.")
        if int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            raise Failure(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body has more than {MAX_BODY_BYTES} bytes.")
        return self.rfile.read(int(length))

    def answer(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Served-By", self.pod)
        if self.close_connection or self.server.draining.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def send_error(self, code, message=None, explain=None):
        """Handles errors of the library, such as an unknown method."""
        self.close_connection = True
        self.answer(code, {"error": message or HTTPStatus(code).phrase})

    def log_request(self, code="-", size="-"):
        """Does not log requests because there are hundreds a second."""


class Server(ThreadingHTTPServer):
    daemon_threads = True  # Open connections must not delay the end.
    request_queue_size = 256

    def __init__(self, port, service):
        super().__init__(("", port), Handler)
        self.service = service
        self.draining = threading.Event()
        self.requests = 0
        self.idle = threading.Condition()

    def server_bind(self):
        # HTTPServer looks up the host name in the DNS, which can take seconds.
        socketserver.TCPServer.server_bind(self)

    def busy(self):
        return Busy(self)

    def drain(self, drain_seconds):
        """Stops the server after the drain period."""
        if self.draining.is_set():
            return
        self.draining.set()
        threading.Timer(drain_seconds, self.shutdown).start()

    def finish(self):
        self.timeout = 0
        for _ in range(self.request_queue_size):  # Accept pending connections.
            self.handle_request()
        with self.idle:
            self.idle.wait_for(lambda: self.requests == 0, FINISH_SECONDS)


class Busy:
    """Counts a request while it is in progress."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        with self.server.idle:
            self.server.requests += 1

    def __exit__(self, *_):
        with self.server.idle:
            self.server.requests -= 1
            self.server.idle.notify_all()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_name", required=True)
    parser.add_argument("--model_dir", default="/mnt/models")
    parser.add_argument("--http_port", type=int, default=8080)
    args, others = parser.parse_known_args()  # KServe's servers have more arguments.
    if others:
        print("ignoring unknown arguments:", *others, file=sys.stderr)
    drain_seconds = float(os.environ.get("DRAIN_SECONDS", "5"))

    service = Service(args.model_name)
    if os.environ.get("LISTEN_WHILE_LOADING") != "true":
        service.load(args.model_dir)
    server = Server(args.http_port, service)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.drain(drain_seconds))
    threading.Thread(target=prepare, args=(server, args.model_dir), daemon=True).start()
    server.serve_forever(poll_interval=0.1)
    server.finish()


def prepare(server, folder):
    service = server.service
    try:
        if service.model is None:
            service.load(folder)
    except BaseException as err:
        print(f"loading the model: {err}", file=sys.stderr, flush=True)
        os._exit(1)
    print(f"model {service.name} is served on port {server.server_address[1]}", flush=True)


if __name__ == "__main__":
    main()
