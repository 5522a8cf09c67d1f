//! Pages of transactions, as Mono lists them.

use serde_json::value::RawValue;

use super::Transaction;

/// Some of an account's transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionPage {
    /// Those that could be read.
    pub rows: Vec<Transaction>,
    /// Those that could not, by their ids, where they have one: what has no id, date, type or amount
    /// that can be stored.
    pub unreadable: Vec<Option<String>>,
    /// How many there are on all pages together, if Mono says so.
    pub total: Option<u64>,
    /// Whether Mono says that there is another page.
    pub has_next: bool,
}

/// The page of transactions that is the body of a sync's answer (v2). It is paid for already. Which rows it has, and
/// how many, Mono does not document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncedPage {
    /// Its rows, as they came: a JSON list.
    pub rows: String,
    /// How many rows Mono holds in all.
    pub total: u32,
}

impl TransactionPage {
    /// Reads a JSON list of rows.
    ///
    /// # Errors
    ///
    /// [`serde_json::Error`] if it is none.
    pub fn of_rows(text: &str) -> serde_json::Result<Self> {
        let rows: Vec<&RawValue> = serde_json::from_str(text)?;
        let mut page = Self::default();
        for row in rows {
            match Transaction::read(row) {
                Ok(row) => page.rows.push(row),
                Err(row) => page.unreadable.push(row.id),
            }
        }
        Ok(page)
    }
}
