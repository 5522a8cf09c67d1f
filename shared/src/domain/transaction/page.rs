//! Pages of transactions, as Mono lists them.

use serde_json::value::RawValue;

use super::Transaction;

/// One page of an account's transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionPage {
    /// The readable rows.
    pub rows: Vec<Transaction>,
    /// The unreadable rows, by their ids if they have one. Such a row has no usable id, date, type or amount.
    pub unreadable: Vec<Option<String>>,
    /// The number of rows on all pages. `None` if Mono does not report it.
    pub total: Option<u64>,
    /// Whether Mono reports another page.
    pub has_next: bool,
}

/// The page of transactions in the response to a sync (v2). It has no extra cost. Mono does not document which rows
/// the page has, or how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncedPage {
    /// The unchanged JSON list of rows.
    pub rows: String,
    /// The number of rows that Mono holds for the account.
    pub total: u32,
}

impl TransactionPage {
    /// Reads a JSON list of rows.
    ///
    /// # Errors
    ///
    /// [`serde_json::Error`]: the text is not a JSON list.
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
    /// The page without the fields that this version does not know.
    #[must_use]
    pub fn without_unknown_fields(mut self) -> Self {
        for row in &mut self.rows {
            row.unknown = None;
        }
        self
    }
}
