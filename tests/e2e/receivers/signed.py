"""A receiver of signed webhooks: it verifies them with the library of Standard Webhooks (Flask)."""

import base64
import json
import os

from flask import Flask, request
from standardwebhooks import Webhook, WebhookVerificationError
from werkzeug.serving import make_server

WEBHOOK = Webhook(os.environ["SECRET"])
LOG = os.environ["LOG"]

app = Flask(__name__)


@app.post("/notify")
def notify():
    body = request.get_data()
    try:
        WEBHOOK.verify(body, dict(request.headers), json_parse=False)
        accepted = True
    except (WebhookVerificationError, ValueError):  # ValueError: a malformed signature, or a body that is not UTF-8
        accepted = False
    record(accepted, body)
    return "", 204 if accepted else 400


def record(accepted, body):
    headers = {name.lower(): value for name, value in request.headers.items()}
    line = json.dumps({"accepted": accepted, "headers": headers, "body": base64.b64encode(body).decode()})
    with open(LOG, "ab", buffering=0) as log:
        log.write(line.encode() + b"\n")


server = make_server("127.0.0.1", int(os.environ["PORT"]), app, threaded=True)
print(f"listening on {server.server_port}", flush=True)
server.serve_forever()
