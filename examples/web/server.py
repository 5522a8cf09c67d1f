"""The back end of a page on which a customer links bank accounts. It calls mono-sync. See README.md."""

import json
import logging
import os
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import botocore.session
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

API_URL = os.environ["API_URL"].rstrip("/")
PORT = int(os.environ.get("PORT", "8000"))
# The origin of the page, as the browser sees it. It must be one of the stack's RedirectOrigins.
ORIGIN = os.environ.get("ORIGIN", f"http://127.0.0.1:{PORT}")
FILES = {
    "/": ("index.html", "text/html"),
    "/app.js": ("app.js", "text/javascript"),
    "/style.css": ("style.css", "text/css"),
}
ACCOUNT = re.compile(r"/api/accounts/([A-Za-z0-9_-]{1,64})(?:/(sync|reauthorise|unlink))?")
ACTIONS = {("POST", "sync"), ("POST", "reauthorise"), ("POST", "unlink"), ("DELETE", None)}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}

session = botocore.session.Session()
http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5, read=35))


def signed_in_customer() -> dict:
    # REPLACE THIS: return the customer of your session. Never take the customer from the body or the query.
    return {"ref": os.environ.get("CUSTOMER_REF", "customer-1"), "name": "Ada Example", "email": "ada@example.com"}


class Problem(Exception):
    def __init__(self, status: int, code: str, **more):
        self.status, self.body = status, {"status": status, "code": code, **more}


def call(method: str, path: str, body: dict | None = None) -> tuple[int, dict]:
    """Sends a signed request to mono-sync. An error of mono-sync becomes one of this server, with the same code."""
    request = AWSRequest(method, API_URL + path, data=json.dumps(body) if body else None)
    if body:
        request.headers["content-type"] = "application/json"
    credentials = session.get_credentials().get_frozen_credentials()
    SigV4Auth(credentials, "execute-api", session.get_config_variable("region")).add_auth(request)
    try:
        answer = http.request(method, request.url, body=request.data, headers=dict(request.headers), redirect=False)
        content = answer.json()
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        logging.error("mono-sync did not answer: %s", type(error).__name__)
        raise Problem(502, "API_UNREACHABLE") from None
    if answer.status < 300:
        return answer.status, content
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        more = {"next_allowed_at": content["next_allowed_at"]} if "next_allowed_at" in content else {}
        raise Problem(answer.status, content["code"], **more)
    # API Gateway itself refused the request: the signature, the permissions or the throttle.
    logging.error("API Gateway answered %s", answer.status)
    raise Problem(502, "API_REFUSED")


def accounts(ref: str) -> dict:
    shown, query = [], {"limit": "100", "ref": ref}
    while True:
        page = call("GET", "/accounts?" + urlencode(sorted(query.items()), quote_via=quote))[1]
        shown += map(to_browser, page["accounts"])
        if page["next_cursor"] is None:
            return {"accounts": shown}
        query["cursor"] = page["next_cursor"]


def to_browser(account: dict) -> dict:
    """Returns only what the page shows."""
    names = ("account_id", "status", "balance", "currency", "last_synced_at")
    bank, number = account["institution"] or {}, account["account_number"] or ""
    return {**{name: account[name] for name in names}, "bank": bank.get("name"), "ending": number[-4:]}


def respond(method: str, path: str, body: dict) -> tuple[int, dict]:
    customer = signed_in_customer()
    ref = customer["ref"]
    if (method, path) == ("GET", "/api/accounts"):
        return 200, accounts(ref)
    if (method, path) == ("POST", "/api/links"):
        person = {"name": customer["name"], "email": customer["email"]}
        link = {"ref": ref, "customer": person, "redirect_url": f"{ORIGIN}/?linked=1"}
        return 201, {"url": call("POST", "/links", link)[1]["url"]}
    if (method, path) == ("POST", "/api/links/exchange"):
        return call("POST", "/links/exchange", {"code": body.get("code"), "ref": ref})
    match = ACCOUNT.fullmatch(path)
    if match and (method, match[2]) in ACTIONS:
        account_id, action = match.groups()
        # Another customer's account must look like one that does not exist.
        if call("GET", f"/accounts/{account_id}")[1]["ref"] != ref:
            raise Problem(404, "ACCOUNT_NOT_FOUND")
        extra = {"redirect_url": f"{ORIGIN}/?reauthorised=1"} if action == "reauthorise" else None
        suffix = f"/{action}" if action else ""
        status, answer = call(method, f"/accounts/{account_id}{suffix}", extra)
        return status, {name: answer[name] for name in ("code", "status", "url", "token") if name in answer}
    raise Problem(404, "NO_SUCH_ROUTE")


class Handler(BaseHTTPRequestHandler):
    def handle_request(self) -> None:
        path = urlsplit(self.path).path
        try:
            if self.headers["host"] != urlsplit(ORIGIN).netloc:  # DNS rebinding
                raise Problem(421, "WRONG_HOST")
            if self.command == "GET" and path in FILES:
                name, media_type = FILES[path]
                return self.send(200, f"{media_type}; charset=utf-8", (Path(__file__).parent / name).read_bytes())
            if self.command != "GET" and not self.is_from_own_page():
                raise Problem(403, "CROSS_SITE_REQUEST")
            status, content = respond(self.command, path, self.read_body())
            self.send(status, "application/json", json.dumps(content).encode())
        except Problem as problem:
            self.send(problem.status, "application/problem+json", json.dumps(problem.body).encode())

    do_GET = do_POST = do_DELETE = handle_request

    def log_request(self, code="-", size="-") -> None:
        # Without the query: Mono's redirect may add personal data or a code to it.
        logging.info("%s %s %s", self.command, urlsplit(getattr(self, "path", "")).path, code)

    def log_error(self, *_) -> None:
        logging.error("invalid request")  # the message can contain the query

    def is_from_own_page(self) -> bool:
        site = self.headers.get("sec-fetch-site", "same-origin")
        return self.headers.get("origin") == ORIGIN and site == "same-origin"

    def read_body(self) -> dict:
        length = self.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > 4096:
            self.close_connection = True
            raise Problem(413, "REQUEST_TOO_LARGE")
        try:
            body = json.loads(self.rfile.read(int(length)) or "{}")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Problem(400, "REQUEST_INVALID")
        return body

    def send(self, status: int, media_type: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("content-type", media_type)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.info("serving %s", ORIGIN)
    ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
