"""Copies the transactions of accounts to PostgreSQL, after each notification. See README.md."""

import json
import logging
import os
import signal
import sys
import threading
import time
from urllib.parse import quote, urlencode

import boto3
import psycopg
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

UPSERT = """
    INSERT INTO transactions
        (account_id, id, date, type, amount, balance, currency, narration, category)
    VALUES (%(account_id)s, %(id)s, %(date)s, %(type)s, %(amount)s, %(balance)s, %(currency)s,
        %(narration)s, %(category)s)
    ON CONFLICT (account_id, id) DO UPDATE SET date = excluded.date, type = excluded.type,
        amount = excluded.amount, balance = excluded.balance, currency = excluded.currency,
        narration = excluded.narration, category = excluded.category"""
SAVE_CURSOR = """
    INSERT INTO cursors (account_id, cursor) VALUES (%s, %s)
    ON CONFLICT (account_id) DO UPDATE SET cursor = excluded.cursor"""

session = boto3.Session()
http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5, read=35))
stopping = threading.Event()


def follow(queue_url: str) -> None:
    sqs = session.client("sqs")
    while not stopping.is_set():
        answer = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=1, WaitTimeSeconds=10)
        for message in answer.get("Messages", []):
            # A message that is not deleted is received again after its visibility timeout.
            if not handle(message["Body"]):
                time.sleep(1)
                continue
            try:
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
            except sqs.exceptions.ClientError as error:  # another process may have the message now
                logging.warning("message was not deleted: %s", error.response["Error"]["Code"])


def handle(event: str) -> bool:
    """Returns whether the event is done. It may come twice, late or early: it is only a hint."""
    try:
        notification = json.loads(event)["detail"]
        if notification["type"] in ("account.transactions_imported", "account.erased"):
            return mirror(notification["account_id"], notification["type"] == "account.erased")
        return True
    except Exception as error:
        # Log only the class: the text of a database error can contain the values of a row.
        logging.error("notification failed: %s", type(error).__name__)
        return False


def mirror(account_id: str, erased: bool) -> bool:
    """Returns whether the feed was read to its end. If not, SIGTERM stopped it."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        if erased:
            with connection.transaction():
                lock(connection, account_id)
                delete(connection, account_id)
        # This also follows an erasure: its notification may be late, and the account linked again.
        while store_next_page(connection, account_id):
            if stopping.is_set():
                return False
    logging.info("account is up to date: %s", account_id)
    return True


def store_next_page(connection: psycopg.Connection, account_id: str) -> bool:
    """Stores one page and its cursor in one transaction. Returns whether there are more pages."""
    with connection.transaction():
        lock(connection, account_id)
        found = connection.execute("SELECT cursor FROM cursors WHERE account_id = %s", [account_id])
        cursor = next((row[0] for row in found), None)
        page = read_page(account_id, cursor)
        if page is None or page["reset"] or cursor is None:
            delete(connection, account_id)
        if page is None:
            return False
        removed = [(account_id, row["id"]) for row in page["removed"]]
        written = [to_columns(account_id, row) for row in page["added"] + page["modified"]]
        with connection.cursor() as batch:
            batch.executemany("DELETE FROM transactions WHERE account_id = %s AND id = %s", removed)
            batch.executemany(UPSERT, written)
            batch.execute(SAVE_CURSOR, [account_id, page["next_cursor"]])
        return page["has_more"]


def lock(connection: psycopg.Connection, account_id: str) -> None:
    # Until the end of the transaction, only this process works on the account. So the cursor that
    # it reads is the cursor that it replaces. A row lock would not do: at first there is no row.
    # The lock is held during one request to the API. A process that hangs loses it.
    connection.execute("SET LOCAL idle_in_transaction_session_timeout = '2min'")
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [account_id])


def delete(connection: psycopg.Connection, account_id: str) -> None:
    connection.execute("DELETE FROM transactions WHERE account_id = %s", [account_id])
    connection.execute("DELETE FROM cursors WHERE account_id = %s", [account_id])


def to_columns(account_id: str, row: dict) -> dict:
    # PostgreSQL cannot store U+0000.
    texts = {name: value.replace("\0", "") for name, value in row.items() if isinstance(value, str)}
    return {**row, **texts, "account_id": account_id}


def read_page(account_id: str, cursor: str | None) -> dict | None:
    """Returns the page after the cursor, or None if the account does not exist."""
    query = {"limit": "500"} if cursor is None else {"limit": "500", "cursor": cursor}
    path = f"/accounts/{quote(account_id, safe='')}/transactions/changes"
    url = os.environ["API_URL"].rstrip("/") + path + "?" + urlencode(query, quote_via=quote)
    request = AWSRequest("GET", url)
    credentials = session.get_credentials().get_frozen_credentials()
    SigV4Auth(credentials, "execute-api", session.region_name).add_auth(request)
    answer = http.request("GET", url, headers=dict(request.headers), redirect=False)
    if answer.status == 200:
        return answer.json()
    # The account was erased, perhaps after this notification. So its rows are deleted. The code is
    # checked, because API Gateway also answers 404 if API_URL is wrong: then nothing is deleted.
    if answer.status == 404 and answer.json().get("code") == "ACCOUNT_NOT_FOUND":
        return None
    logging.error("feed answered %s: %s", answer.status, account_id)
    raise RuntimeError


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    if sys.argv[1:2] == ["--once"]:
        detail = {"type": "account.transactions_imported", "account_id": sys.argv[2]}
        sys.exit(0 if handle(json.dumps({"detail": detail})) else 1)
    follow(os.environ["QUEUE_URL"])
