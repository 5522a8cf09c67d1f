//! The spending at Mono, one item per day in the table of account records.
//!
//! The item of a day (Africa/Lagos) holds the naira that each budget has reserved or spent. It also holds the number
//! of calls and the naira per kind and reason. Writes only add to attributes, so that concurrent writes lose nothing.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};

use super::StoreError;
use super::item::{ACCOUNT_ID, Item};
use crate::domain::business_day::BusinessDay;
use crate::domain::spending::{BudgetKind, Budgets, CallKind, CallReason, Naira, Room};

/// The spending of each day, and its budgets.
#[derive(Clone)]
pub struct Ledger {
    client: Client,
    table: String,
    budgets: Budgets,
}

/// One call in the ledger, entered before the call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The day whose budget pays for the call.
    pub day: BusinessDay,
    pub kind: CallKind,
    pub reason: CallReason,
    /// The maximum price of the call.
    pub price: Naira,
}

impl Entry {
    fn calls(&self) -> String {
        format!("{}.{}.calls", self.kind.as_str(), self.reason.as_str())
    }

    fn naira(&self) -> String {
        format!("{}.{}.naira", self.kind.as_str(), self.reason.as_str())
    }
}

impl Ledger {
    /// `table` is the table of account records.
    pub fn new(client: Client, table: impl Into<String>, budgets: Budgets) -> Self {
        Self { client, table: table.into(), budgets }
    }

    pub const fn budgets(&self) -> Budgets {
        self.budgets
    }

    /// Reserves the price of a call if the budget has room for it. Returns the sum that the budget has spent or
    /// reserved, this call included. `None` if the budget has no room. One conditional write. If the response is
    /// lost, the SDK retries and the price is reserved twice. The day then spends less than its budget.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the call must not be made.
    pub async fn reserve(&self, entry: Entry) -> Result<Option<Naira>, StoreError> {
        let budget = entry.reason.budget_kind();
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(entry.day)))
            .update_expression("ADD #budget :price, #naira :price, #calls :one")
            .expression_attribute_names("#budget", budget.as_str())
            .expression_attribute_names("#naira", entry.naira())
            .expression_attribute_names("#calls", entry.calls())
            .expression_attribute_values(":price", naira(entry.price))
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .return_values(ReturnValue::UpdatedNew);
        let update = match self.budgets.of(budget).room_for(entry.price) {
            Room::Always => update,
            Room::UpTo(max) => {
                let share = Budgets::share(entry.reason, entry.price, max);
                update
                    .condition_expression(
                        "(attribute_not_exists(#budget) OR #budget <= :max) \
                         AND (attribute_not_exists(#naira) OR #naira <= :share)",
                    )
                    .expression_attribute_values(":max", naira(max))
                    .expression_attribute_values(":share", naira(share))
            }
            Room::Never => return Ok(None),
        };
        match update.send().await {
            Ok(answer) => Ok(Some(read(answer.attributes.as_ref(), budget.as_str()))),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
            {
                Ok(None)
            }
            Err(error) => Err(StoreError::unavailable(error)),
        }
    }

    /// Releases the reservation of a call that cost nothing. One write, without retry: a reservation that is released
    /// twice could be spent twice.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the price stays reserved.
    pub async fn release(&self, entry: Entry) -> Result<(), StoreError> {
        let price = AttributeValue::N(format!("-{}", entry.price));
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(entry.day)))
            .update_expression("ADD #budget :price, #naira :price")
            .expression_attribute_names("#budget", entry.reason.budget_kind().as_str())
            .expression_attribute_names("#naira", entry.naira())
            .expression_attribute_values(":price", price);
        let once = Builder::new().retry_config(RetryConfig::disabled());
        let answer = update.customize().config_override(once).send().await;
        answer.map(drop).map_err(StoreError::unavailable)
    }

    /// The sum that a budget has spent or reserved on a day.
    pub async fn spent(&self, day: BusinessDay, budget: BudgetKind) -> Result<Naira, StoreError> {
        self.sum(day, budget.as_str()).await
    }

    /// The sum that verifications have spent or reserved on a day.
    pub async fn spent_on_verifications(&self, day: BusinessDay) -> Result<Naira, StoreError> {
        let (kind, reason) = (CallKind::Details, CallReason::Verification);
        self.sum(day, &Entry { day, kind, reason, price: Naira(0) }.naira()).await
    }

    /// Reads a sum by an update that adds zero, because the planner's role has no read permission.
    async fn sum(&self, day: BusinessDay, attribute: &str) -> Result<Naira, StoreError> {
        let update = self.client.update_item().table_name(&self.table).set_key(Some(key(day)));
        let answer = update
            .update_expression("ADD #sum :zero")
            .expression_attribute_names("#sum", attribute)
            .expression_attribute_values(":zero", naira(Naira(0)))
            .return_values(ReturnValue::UpdatedNew)
            .send()
            .await
            .map_err(StoreError::unavailable)?;
        Ok(read(answer.attributes.as_ref(), attribute))
    }
}

/// The key of a day's item. No account id contains `#`.
fn key(day: BusinessDay) -> Item {
    [(ACCOUNT_ID.to_owned(), AttributeValue::S(format!("#spending#{day}")))].into()
}

fn naira(amount: Naira) -> AttributeValue {
    AttributeValue::N(amount.to_string())
}

fn read(item: Option<&Item>, attribute: &str) -> Naira {
    let number = item.and_then(|item| item.get(attribute)?.as_n().ok()?.parse().ok());
    Naira(number.unwrap_or_default())
}
