//! Generates fictional rows.

use fastrand::Rng;
use serde_json::{Map, Value, json};
use time::{Date, Duration, OffsetDateTime};

use super::{Direction, History, Transaction, midnight};

/// Narrations and categories of debits.
const SPENDING: [(&str, &str); 5] = [
    ("Invented groceries", "food"),
    ("Pretend fare, Ìbàdàn", "transport"),
    ("Airtime nobody used", "phone_and_internet"),
    ("Make-believe transfer charge", "bank_charges"),
    ("Fictional transfer to a friend", "unknown"),
];

/// Narrations and categories of credits.
const INCOME: [(&str, &str); 2] = [("Fictional salary", "salary"), ("Imaginary refund", "unknown")];

/// A century. The range of dates is limited.
const MAXIMUM_DAYS: u32 = 36_525;

/// The largest amount, in kobo or cents.
const MAXIMUM_AMOUNT: i64 = 5_000_000;

/// Generates the rows of one account. The seed determines all except their ids.
#[derive(Clone, Debug)]
pub(super) struct StatementGenerator {
    rng: Rng,
    /// The beginning of all row ids of the account.
    account: u64,
    rows: u32,
}

impl StatementGenerator {
    pub(super) fn new(account_id: &str, seed: Option<u64>) -> Self {
        let account = fingerprint(account_id);
        Self { rng: Rng::with_seed(seed.unwrap_or(account)), account, rows: 0 }
    }

    /// The rows that lead to this balance today, the oldest first. Earlier balances are never negative,
    /// unless the present one is.
    pub(super) fn past(
        &mut self,
        history: &History,
        mut balance: i64,
        today: Date,
    ) -> Vec<Transaction> {
        let mut rows: Vec<_> = self
            .dates(history, today)
            .into_iter()
            .map(|date| {
                let amount = self.amount();
                let direction = match self.direction() {
                    Direction::Credit if balance < amount => Direction::Debit,
                    direction => direction,
                };
                let row = self.row(direction, amount, date);
                balance -= row.change();
                row
            })
            .collect();
        rows.reverse();
        rows
    }

    /// The dates, the newest first, evenly spread over the days.
    fn dates(&mut self, history: &History, today: Date) -> Vec<OffsetDateTime> {
        let days = u64::from(history.days.clamp(1, MAXIMUM_DAYS));
        let count = history.transactions as u64;
        let ages = (0..count).map(|row| i64::try_from(row * days / count).unwrap_or(i64::MAX));
        let mut dates: Vec<_> = ages.map(|age| self.date(today, age)).collect();
        dates.sort_by_key(|date| std::cmp::Reverse(*date));
        dates
    }

    /// The midnight of the business day, for seven in eight rows and for all rows of today: another time
    /// could be in the future.
    fn date(&mut self, today: Date, age: i64) -> OffsetDateTime {
        let midnight = midnight(today) - Duration::days(age);
        let free = self.one_in(8).then(|| Duration::milliseconds(self.rng.i64(0..86_400_000)));
        midnight + free.filter(|_| age > 0).unwrap_or_default()
    }

    /// One in eight rows hides its balance, and one in ten has an undocumented field.
    pub(super) fn row(
        &mut self,
        direction: Direction,
        amount: i64,
        date: OffsetDateTime,
    ) -> Transaction {
        let kinds: &[_] = match direction {
            Direction::Debit => &SPENDING,
            Direction::Credit => &INCOME,
        };
        let (narration, category) = kinds[self.rng.usize(..kinds.len())];
        Transaction {
            id: self.id(),
            narration: format!("{narration} {:06}", self.rng.u32(..1_000_000)),
            amount,
            direction,
            balance: (!self.one_in(8)).then_some(0),
            date,
            category: category.to_owned(),
            extra: if self.one_in(10) { undocumented_field() } else { Map::new() },
        }
    }

    /// One in four rows is a credit.
    pub(super) fn direction(&mut self) -> Direction {
        if self.one_in(4) { Direction::Credit } else { Direction::Debit }
    }

    pub(super) fn amount(&mut self) -> i64 {
        self.rng.i64(1..=MAXIMUM_AMOUNT)
    }

    /// A random number below this bound.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.rng.usize(..bound)
    }

    fn one_in(&mut self, number: u32) -> bool {
        self.rng.u32(..number) == 0
    }

    fn id(&mut self) -> String {
        self.rows += 1;
        format!("{:016x}{:08x}", self.account, self.rows)
    }
}

fn undocumented_field() -> Map<String, Value> {
    Map::from_iter([("metadata".to_owned(), json!({ "channel": "USSD" }))])
}

/// FNV-1a. It is stable across versions, unlike the hash of the standard library.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
