"""A receiver of Mono's webhooks that compares the secret in the header (Flask)."""

import base64
import json
import os

from flask import Flask, request
from werkzeug.serving import make_server

SECRET = os.environ["SECRET"]
LOG = os.environ["LOG"]

app = Flask(__name__)


@app.post("/mono")
def mono():
    body = request.get_data()
    accepted = request.headers.get("mono-webhook-secret") == SECRET
    record(accepted, body)
    if not accepted:
        return {"message": "Unauthorized request."}, 401
    return {"status": "ok"}


def record(accepted, body):
    headers = {name.lower(): value for name, value in request.headers.items()}
    line = json.dumps({"accepted": accepted, "headers": headers, "body": base64.b64encode(body).decode()})
    with open(LOG, "ab", buffering=0) as log:
        log.write(line.encode() + b"\n")


server = make_server("127.0.0.1", int(os.environ["PORT"]), app, threaded=True)
print(f"listening on {server.server_port}", flush=True)
server.serve_forever()
