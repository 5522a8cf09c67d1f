CREATE TABLE IF NOT EXISTS transactions (
    account_id text NOT NULL,
    id text NOT NULL,
    date timestamptz NOT NULL,
    type text NOT NULL, -- debit or credit
    amount bigint NOT NULL, -- in minor units
    balance bigint, -- after the transaction, in minor units
    currency text,
    narration text,
    category text,
    PRIMARY KEY (account_id, id)
);

CREATE INDEX IF NOT EXISTS transactions_by_date ON transactions (account_id, date);

-- How far the change feed of each account is stored.
CREATE TABLE IF NOT EXISTS cursors (
    account_id text PRIMARY KEY,
    cursor text NOT NULL
);
