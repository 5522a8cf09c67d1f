//! The transactions of an account, at its bank and at Mono.
//!
//! Balances are always consistent: each balance follows from the rows before it, and the newest row's
//! balance is the account's. A change of a row changes all balances after it. A row only decides whether
//! it shows its balance.

mod page;
mod statement;

use std::mem;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;
use time::macros::offset;
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

pub(crate) use self::page::{Page, Selection};
use self::statement::StatementGenerator;
use crate::id_generator::iso;

/// The offset of Lagos. Nigeria has no daylight saving time.
const LAGOS: UtcOffset = offset!(+1);

/// The history of a new account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// The number of rows.
    pub transactions: usize,
    /// The number of business days over which the rows are spread. The last day is today. The maximum is
    /// a century.
    pub days: u32,
    /// Determines the rows except their ids, which follow from the account's id. By default, the seed
    /// follows from the account's id too.
    pub seed: Option<u64>,
    /// The maximum number of rows of a page. A larger `limit` is reduced to it without notice.
    pub largest_page: usize,
    /// Whether `paginate=false` is ignored.
    pub always_paged: bool,
}

impl Default for History {
    fn default() -> Self {
        Self { transactions: 40, days: 30, seed: None, largest_page: 100, always_paged: false }
    }
}

/// One row, in the JSON format of v2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// 24 hex digits, unique across accounts.
    pub id: String,
    /// The bank's text.
    pub narration: String,
    /// In kobo or cents, without a sign.
    pub amount: i64,
    #[serde(rename = "type")]
    pub direction: Direction,
    /// The account's balance after the row, if the bank shows it. In a history, any number here is
    /// replaced by the right one.
    pub balance: Option<i64>,
    /// The time: for most rows, the beginning of the business day in Lagos.
    #[serde(serialize_with = "write_date", deserialize_with = "read_date")]
    pub date: OffsetDateTime,
    /// The category that Mono assigns.
    pub category: String,
    /// Undocumented fields.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Transaction {
    /// The business day in Lagos.
    pub fn business_day(&self) -> Date {
        self.date.to_offset(LAGOS).date()
    }

    /// The change of the balance.
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

/// The direction of the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Out of the account.
    Debit,
    /// Into the account.
    Credit,
}

/// The beginning of a business day in Lagos, in UTC: 23:00 of the day before.
pub fn midnight(business_day: Date) -> OffsetDateTime {
    let midnight = PrimitiveDateTime::new(business_day, Time::MIDNIGHT);
    midnight.assume_offset(LAGOS).to_offset(UtcOffset::UTC)
}

/// The present business day in Lagos.
pub fn today() -> Date {
    OffsetDateTime::now_utc().to_offset(LAGOS).date()
}

/// The rows of an account.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    /// The oldest row first. Rows with the same date are in the order of their arrival.
    rows: Vec<Transaction>,
    /// The rows that an incomplete statement omitted.
    withheld: Vec<Transaction>,
    statement: StatementGenerator,
    largest_page: usize,
    always_paged: bool,
}

impl Ledger {
    /// A history that leads to this balance today.
    pub(crate) fn new(account_id: &str, history: &History, balance: i64) -> Self {
        let mut statement = StatementGenerator::new(account_id, history.seed);
        let mut ledger = Self {
            rows: statement.past(history, balance, today()),
            withheld: Vec::new(),
            statement,
            largest_page: history.largest_page.max(1),
            always_paged: history.always_paged,
        };
        ledger.recompute_balances(balance);
        ledger
    }

    /// The newest row first.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Transaction> {
        self.rows.iter().rev()
    }

    pub(crate) fn find(&mut self, id: &str) -> Option<&mut Transaction> {
        self.rows.iter_mut().find(|row| row.id == id)
    }

    pub(crate) fn add(&mut self, rows: impl IntoIterator<Item = Transaction>) {
        self.rows.extend(rows);
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Transaction> {
        let place = self.rows.iter().position(|row| row.id == id)?;
        Some(self.rows.remove(place))
    }

    /// A new row of today that is not in the ledger yet.
    pub(crate) fn draft(&mut self) -> Transaction {
        let direction = self.statement.direction();
        let amount = self.statement.amount();
        self.statement.row(direction, amount, midnight(today()))
    }

    /// Applies the result of a fetch. An incomplete statement keeps only the newer half of the rows. The
    /// next complete one restores the others.
    pub(crate) fn apply_fetch(&mut self, new_data: Option<i64>, incomplete: bool) {
        let left = self.rows.len() / 2;
        if !incomplete {
            self.withheld.append(&mut self.rows);
            self.rows = mem::take(&mut self.withheld);
        }
        if let Some(change) = new_data {
            self.grow(change);
        }
        if incomplete {
            self.withheld.extend(self.rows.drain(..self.rows.len() - left));
        }
    }

    /// Adds one row of today, or a few, that together change the balance by this.
    fn grow(&mut self, change: i64) {
        let today = midnight(today());
        let spent: Vec<_> = (0..self.statement.below(3)).map(|_| self.statement.amount()).collect();
        let earned = change + spent.iter().sum::<i64>();
        self.rows.push(self.statement.row(Direction::Credit, earned, today));
        for amount in spent {
            self.rows.push(self.statement.row(Direction::Debit, amount, today));
        }
    }

    /// Edits the rows, sorts them, and updates the balance.
    pub(crate) fn edit<T>(&mut self, balance: &mut i64, edit: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.sum();
        let edited = edit(self);
        self.rows.sort_by_key(|row| row.date);
        *balance += self.sum() - before;
        self.recompute_balances(*balance);
        edited
    }

    fn sum(&self) -> i64 {
        self.rows.iter().chain(&self.withheld).map(Transaction::change).sum()
    }

    /// Sets the balances of all rows that show one, so that they lead to this balance.
    fn recompute_balances(&mut self, mut balance: i64) {
        for row in self.rows.iter_mut().rev() {
            row.balance = row.balance.map(|_| balance);
            balance -= row.change();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;
    use time::Duration;
    use time::macros::{date, datetime};

    use super::*;

    const BALANCE: i64 = 1_000_000;

    fn ledger(account_id: &str, seed: Option<u64>) -> Ledger {
        let history = History { transactions: 500, seed, ..History::default() };
        Ledger::new(account_id, &history, BALANCE)
    }

    /// The rows without their ids.
    fn without_ids(ledger: &Ledger) -> Vec<Transaction> {
        let bare = |row: &Transaction| Transaction { id: String::new(), ..row.clone() };
        ledger.rows().map(bare).collect()
    }

    fn ids(ledger: &Ledger) -> Vec<String> {
        ledger.rows().map(|row| row.id.clone()).collect()
    }

    /// Whether each balance leads to the next one, and the last to this balance.
    fn adds_up(ledger: &Ledger, mut balance: i64) -> bool {
        ledger.rows().all(|row| {
            let right = row.balance.is_none_or(|shown| shown == balance);
            balance -= row.change();
            right
        })
    }

    #[test]
    fn rows_follow_from_the_seed_and_their_ids_from_the_account() {
        let [one, other] = ["one", "other"].map(|account_id| ledger(account_id, Some(7)));
        assert_eq!(without_ids(&one), without_ids(&other));
        assert_ne!(without_ids(&one), without_ids(&ledger("one", Some(8))));
        assert_ne!(without_ids(&ledger("one", None)), without_ids(&ledger("other", None)));
        assert_eq!(ids(&one), ids(&ledger("one", None)));
        let ids: HashSet<_> = ids(&one).into_iter().chain(ids(&other)).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 24));
    }

    #[test]
    fn rows_are_spread_over_all_days_up_to_today() {
        let ledger = ledger("a", None);
        let days: HashSet<_> = ledger.rows().map(Transaction::business_day).collect();
        let first = today() - Duration::days(29);
        assert_eq!(days.len(), 30);
        assert!(days.iter().all(|day| (first..=today()).contains(day)));
        assert!(ledger.rows().is_sorted_by(|newer, older| newer.date >= older.date));
    }

    #[test]
    fn most_rows_are_at_midnight_and_some_at_another_time() {
        let ledger = ledger("a", None);
        let at_midnight = ledger.rows().filter(|row| row.date == midnight(row.business_day()));
        assert!((400..490).contains(&at_midnight.count()));
        assert!(ledger.rows().all(|row| row.date <= OffsetDateTime::now_utc()));
    }

    #[test]
    fn business_day_begins_at_23_00_of_the_day_before() {
        assert_eq!(midnight(date!(2026 - 01 - 05)), datetime!(2026-01-04 23:00 UTC));
        let row = |date| Transaction { date, ..ledger("a", None).draft() };
        let days = [
            (datetime!(2026-01-04 22:59:59.999 UTC), date!(2026 - 01 - 04)),
            (datetime!(2026-01-04 23:00 UTC), date!(2026 - 01 - 05)),
        ];
        for (at, day) in days {
            assert_eq!(row(at).business_day(), day);
        }
    }

    #[test]
    fn balances_add_up_and_most_of_them_are_shown() {
        let ledger = ledger("a", None);
        assert!(adds_up(&ledger, BALANCE));
        assert!((400..490).contains(&ledger.rows().filter_map(|row| row.balance).count()));
    }

    #[test]
    fn past_balances_are_never_negative() {
        for seed in 0..20 {
            let history = History { seed: Some(seed), ..History::default() };
            let ledger = Ledger::new("a", &history, 0);
            assert!(ledger.rows().filter_map(|row| row.balance).all(|balance| balance >= 0));
        }
    }

    #[test]
    fn some_rows_have_an_undocumented_field() {
        let odd = |row: &&Transaction| !row.extra.is_empty();
        assert!((20..100).contains(&ledger("a", None).rows().filter(odd).count()));
    }

    #[test]
    fn row_round_trips() {
        let written = json!({
            "id": "7a0000000000000000000001",
            "narration": "Fictional salary",
            "amount": 5,
            "type": "credit",
            "balance": null,
            "date": "2026-01-04T23:00:00.000Z",
            "category": "unknown",
            "novelty": true,
        });
        let row: Transaction = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(row.date, midnight(date!(2026 - 01 - 05)));
        assert_eq!(json!(row), written);
    }

    #[test]
    fn changed_row_changes_only_the_balances_after_it() {
        let mut ledger = ledger("a", None);
        let (mut balance, before) = (BALANCE, without_ids(&ledger));
        let id = ids(&ledger)[250].clone();
        ledger.edit(&mut balance, |ledger| ledger.find(&id).unwrap().amount += 7);
        let after = without_ids(&ledger);
        assert_eq!((balance - BALANCE).abs(), 7);
        assert!(adds_up(&ledger, balance));
        assert_eq!(before[251..], after[251..]);
        let moved = |(old, new): (&Transaction, &Transaction)| match (old.balance, new.balance) {
            (Some(old), Some(new)) => new - old == balance - BALANCE,
            (old, new) => old == new,
        };
        assert!(before[..250].iter().zip(&after).all(moved));
    }

    #[test]
    fn row_with_a_new_date_moves_to_its_new_place() {
        let mut ledger = ledger("a", None);
        let (mut balance, id) = (BALANCE, ids(&ledger)[0].clone());
        let past = midnight(date!(2020 - 01 - 01));
        ledger.edit(&mut balance, |ledger| ledger.find(&id).unwrap().date = past);
        assert_eq!(ids(&ledger).last(), Some(&id));
        assert_eq!(balance, BALANCE);
        assert!(adds_up(&ledger, BALANCE));
    }

    #[test]
    fn new_data_is_of_today_and_adds_up_to_the_change_of_the_balance() {
        let mut ledger = ledger("a", None);
        let mut balance = BALANCE;
        let mut counts = HashSet::new();
        for _ in 0..20 {
            let count = ledger.rows().count();
            ledger.edit(&mut balance, |ledger| ledger.apply_fetch(Some(9), false));
            counts.insert(ledger.rows().count() - count);
        }
        assert_eq!(counts, HashSet::from([1, 2, 3]));
        assert_eq!(balance, BALANCE + 180);
        assert!(adds_up(&ledger, balance));
        assert!(ledger.rows().take(20).all(|row| row.business_day() == today()));
    }

    #[test]
    fn incomplete_statement_keeps_the_newer_half_and_a_complete_one_restores_the_rest() {
        let mut ledger = ledger("a", None);
        let (mut balance, whole) = (BALANCE, ids(&ledger));
        for kept in [250, 125] {
            ledger.edit(&mut balance, |ledger| ledger.apply_fetch(None, true));
            assert_eq!(ids(&ledger), whole[..kept]);
            assert!(adds_up(&ledger, BALANCE));
        }
        ledger.edit(&mut balance, |ledger| ledger.apply_fetch(None, false));
        assert_eq!((ids(&ledger), balance), (whole, BALANCE));
    }

    #[test]
    fn incomplete_statement_always_removes_rows() {
        for transactions in 1..10 {
            let history = History { transactions, ..History::default() };
            let mut ledger = Ledger::new("a", &history, BALANCE);
            ledger.edit(&mut { BALANCE }, |ledger| ledger.apply_fetch(Some(9), true));
            assert!(ledger.rows().count() < transactions);
        }
    }

    #[test]
    fn history_without_rows_or_days_or_with_too_many_days_is_valid() {
        for (transactions, days) in [(0, 30), (3, 0), (3, u32::MAX)] {
            let history = History { transactions, days, ..History::default() };
            let ledger = Ledger::new("a", &history, 0);
            assert_eq!(ledger.rows().count(), transactions);
            assert!(ledger.rows().take(1).all(|row| row.business_day() == today()));
        }
    }
}
