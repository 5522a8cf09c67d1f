"""Runs a statement, and prints each row as a JSON array on a line: query.py URL STATEMENT [PARAMETER…]"""

import json
import sys

import psycopg

url, statement, *parameters = sys.argv[1:]
with psycopg.connect(url) as connection:
    cursor = connection.execute(statement, parameters or None)
    for row in cursor if cursor.description else []:
        print(json.dumps(row, default=str))
