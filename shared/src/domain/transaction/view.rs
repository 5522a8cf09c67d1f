//! A transaction as the API shows it.

use serde::Serialize;

use super::{Direction, Transaction};
use crate::domain::account::Account;
use crate::domain::money::MinorUnits;
use crate::domain::timestamp::Timestamp;

/// One row in an answer. Amounts are minor units; what is not known is `null`.
#[derive(Serialize)]
pub struct TransactionView<'a> {
    pub id: &'a str,
    pub date: Timestamp,
    pub r#type: Direction,
    pub amount: MinorUnits,
    pub balance: Option<MinorUnits>,
    pub currency: Option<&'a str>,
    pub narration: Option<&'a str>,
    pub category: Option<&'a str>,
}

impl Transaction {
    /// The row of this account. Only v1 sends a currency with each row; in v2 it is the account's.
    pub fn view<'a>(&'a self, account: &'a Account) -> TransactionView<'a> {
        let details = account.registers.details.as_ref();
        let currency_of_account = details.and_then(|details| details.value.currency.as_deref());
        TransactionView {
            id: &self.position.id,
            date: self.position.date,
            r#type: self.direction,
            amount: self.amount,
            balance: self.balance,
            currency: self.currency.as_deref().or(currency_of_account),
            narration: self.narration.as_deref(),
            category: self.category.as_deref(),
        }
    }
}
