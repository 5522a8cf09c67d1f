//! The transactions of an account, as its bank has them and as Mono serves them.
//!
//! A balance is always right: it is what the rows before it left, and the newest row's is the
//! account's own. Whoever changes a row moves all balances after it; what a row may decide is only
//! whether it shows its balance.

mod page;
mod teller;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;
use time::macros::offset;
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

pub(crate) use self::page::{Page, Selection};
use self::teller::Teller;
use crate::mint::iso;

/// All year round: Nigeria keeps no summer time.
const LAGOS: UtcOffset = offset!(+1);

/// What a refresh that finds something new adds to the balance.
const NEWS: i64 = 12_345;

/// Which past an account to be linked has.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// How many rows.
    pub transactions: usize,
    /// Over how many business days they are spread, the last of which is today.
    pub days: u32,
    /// Decides everything about the rows but their ids, which are the account's own. Left out, it
    /// follows from the account's id.
    pub seed: Option<u64>,
    /// The most rows a page has. A `limit` above it is cut to it, and nothing says so.
    pub largest_page: usize,
}

impl Default for History {
    fn default() -> Self {
        Self { transactions: 40, days: 30, seed: None, largest_page: 100 }
    }
}

/// One row, read and written as v2 has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// 24 hex digits; no two accounts share one.
    pub id: String,
    /// What the bank calls it.
    pub narration: String,
    /// In kobo or cents, whichever way it went.
    pub amount: i64,
    /// Which way it went.
    #[serde(rename = "type")]
    pub direction: Direction,
    /// The account's balance after it, where the bank tells it. Which one is none of the row's
    /// business: in a history, any number here becomes the right one.
    pub balance: Option<i64>,
    /// When: mostly the midnight in Lagos that its business day began with.
    #[serde(serialize_with = "write_date", deserialize_with = "read_date")]
    pub date: OffsetDateTime,
    /// What Mono takes it for.
    pub category: String,
    /// Fields nobody has documented.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Transaction {
    /// The day in Lagos.
    #[must_use]
    pub fn business_day(&self) -> Date {
        self.date.to_offset(LAGOS).date()
    }

    /// What it does to the balance.
    fn change(&self) -> i64 {
        match self.direction {
            Direction::Debit => -self.amount,
            Direction::Credit => self.amount,
        }
    }
}

fn write_date<S: Serializer>(date: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&iso(*date))
}

fn read_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OffsetDateTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    let date = OffsetDateTime::parse(&text, &Rfc3339).map_err(serde::de::Error::custom)?;
    Ok(date.to_offset(UtcOffset::UTC))
}

/// Which way money went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Out of the account.
    Debit,
    /// Into it.
    Credit,
}

/// When a business day begins in Lagos, in UTC: at 23:00 of the day before.
#[must_use]
pub fn midnight(business_day: Date) -> OffsetDateTime {
    let midnight = PrimitiveDateTime::new(business_day, Time::MIDNIGHT);
    midnight.assume_offset(LAGOS).to_offset(UtcOffset::UTC)
}

/// The business day it is in Lagos.
#[must_use]
pub fn today() -> Date {
    OffsetDateTime::now_utc().to_offset(LAGOS).date()
}

/// An account's rows.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    /// The oldest first. Of two with the same date the one that came later is the later.
    rows: Vec<Transaction>,
    /// What an incomplete statement left out.
    withheld: Vec<Transaction>,
    teller: Teller,
    largest_page: usize,
}

impl Ledger {
    /// A past that leads to this balance today.
    pub(crate) fn new(account_id: &str, history: &History, balance: i64) -> Self {
        let mut teller = Teller::new(account_id, history.seed);
        let mut ledger = Self {
            rows: teller.past(history, balance, today()),
            withheld: Vec::new(),
            teller,
            largest_page: history.largest_page.max(1),
        };
        ledger.reckon(balance);
        ledger
    }

    /// The newest first.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Transaction> {
        self.rows.iter().rev()
    }

    pub(crate) fn find(&mut self, id: &str) -> Option<&mut Transaction> {
        self.rows.iter_mut().find(|row| row.id == id)
    }

    pub(crate) fn add(&mut self, row: Transaction) {
        self.rows.push(row);
    }

    /// Whether there was one.
    pub(crate) fn remove(&mut self, id: &str) -> bool {
        let before = self.rows.len();
        self.rows.retain(|row| row.id != id);
        self.rows.len() < before
    }

    /// One that is not in it yet, of today.
    pub(crate) fn draft(&mut self) -> Transaction {
        let direction = self.teller.direction();
        let amount = self.teller.amount();
        self.teller.row(direction, amount, midnight(today()))
    }

    /// What a refresh finds: one row of today, or a few.
    pub(crate) fn grow(&mut self) {
        let mut credit = NEWS;
        for _ in 0..self.teller.up_to(3) {
            let amount = self.teller.amount();
            let debit = self.teller.row(Direction::Debit, amount, midnight(today()));
            self.add(debit);
            credit += amount;
        }
        let credit = self.teller.row(Direction::Credit, credit, midnight(today()));
        self.add(credit);
    }

    /// Keeps the newer half, as an incomplete statement does.
    pub(crate) fn withhold(&mut self) {
        let older = self.rows.len().div_ceil(2);
        self.withheld.extend(self.rows.drain(..older));
    }

    /// Has all of it again, as after a complete statement.
    pub(crate) fn restore(&mut self) {
        self.rows.append(&mut self.withheld);
    }

    /// Lets someone change rows, then puts them in order. Returns the balance they lead to if they
    /// led to this one before.
    pub(crate) fn edit(&mut self, balance: i64, edit: impl FnOnce(&mut Self)) -> i64 {
        let before = self.sum();
        edit(self);
        self.rows.sort_by_key(|row| row.date);
        let balance = balance + self.sum() - before;
        self.reckon(balance);
        balance
    }

    fn sum(&self) -> i64 {
        self.rows.iter().chain(&self.withheld).map(Transaction::change).sum()
    }

    /// Gives every row that shows its balance the one that leads to this.
    fn reckon(&mut self, mut balance: i64) {
        for row in self.rows.iter_mut().rev() {
            row.balance = row.balance.map(|_| balance);
            balance -= row.change();
        }
    }
}
