"""Starts the AWS emulator, ministack.

ministack parses the conditions of a query again for each row. With 100,000 rows, such a query takes longer than the
functions wait for DynamoDB. So this script caches the parsed conditions. It changes nothing else. The two patched
functions are private to ministack. Check them when you change the version in tests/tools/emulator.in.
"""

import functools
import sys

from ministack.app import main
from ministack.services import dynamodb

tokens = functools.cache(dynamodb._tokenize)
# Each caller gets its own list, because it may change the list.
dynamodb._tokenize = lambda expression: list(tokens(expression))
dynamodb._condition_syntax_error = functools.cache(dynamodb._condition_syntax_error)

sys.exit(main())
