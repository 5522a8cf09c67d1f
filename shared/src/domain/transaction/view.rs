//! A transaction in the API.

use serde::Serialize;

use super::{Direction, Transaction};
use crate::domain::account::Account;
use crate::domain::money::MinorUnits;
use crate::domain::timestamp::Timestamp;

/// One row in a response. Amounts are minor units. Unknown values are `null`.
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
    /// The view of this row. Only v1 sends a currency with each row. In v2 the account's currency is used.
    pub fn view<'a>(&'a self, account: &'a Account) -> TransactionView<'a> {
        let account_type = account.registers.account_type.as_ref();
        let currency_of_account = account_type.and_then(|held| held.value.currency.as_deref());
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
