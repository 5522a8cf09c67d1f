//! Lists of accounts: all of them, those of one owner, and those of one customer.

use aws_sdk_dynamodb::types::AttributeValue;
use tracing::error;

use super::item::{self, ACCOUNT_ID, CUSTOMER, REFERENCE};
use super::{AccountStore, StoreError, Stored};
use crate::domain::account::Account;
use crate::domain::account_id::AccountId;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, P> {
    pub items: Vec<T>,
    /// Where the next page begins. `None` on the last page.
    pub next: Option<P>,
}

/// The accounts of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group<'a> {
    All,
    /// The accounts with this `ref`.
    Reference(&'a str),
    /// The accounts of this customer at Mono.
    Customer(&'a str),
}

impl AccountStore {
    /// Lists accounts in the order of their ids, or in no order if the group has all accounts. Eventually consistent.
    /// All accounts take one request for each page, a smaller group takes two. A page may be short although more
    /// follow.
    pub async fn list(
        &self,
        group: Group<'_>,
        limit: usize,
        after: Option<&AccountId>,
    ) -> Result<Page<Account, AccountId>, StoreError> {
        match group {
            Group::All => self.all(limit, after).await,
            Group::Reference(value) => self.group("RefIndex", REFERENCE, value, limit, after).await,
            Group::Customer(value) => {
                self.group("CustomerIndex", CUSTOMER, value, limit, after).await
            }
        }
    }

    async fn all(
        &self,
        limit: usize,
        after: Option<&AccountId>,
    ) -> Result<Page<Account, AccountId>, StoreError> {
        let scan = self.client.scan().table_name(&self.table).limit(number(limit));
        let answer = scan.set_exclusive_start_key(after.map(item::key)).send().await;
        let answer = answer.map_err(StoreError::unavailable)?;
        let mut accounts = Vec::new();
        for item in answer.items.unwrap_or_default().into_iter().filter(item::is_account) {
            let account_id = item::account_id(&item);
            match Stored::from_item(item) {
                Ok(stored) => accounts.push(stored.account),
                Err(error) => {
                    error!(?account_id, %error, "corrupt account record left out of a list");
                }
            }
        }
        let next = answer.last_evaluated_key.as_ref().and_then(item::account_id);
        Ok(Page { items: accounts, next })
    }

    async fn group(
        &self,
        index: &str,
        key: &str,
        value: &str,
        limit: usize,
        after: Option<&AccountId>,
    ) -> Result<Page<Account, AccountId>, StoreError> {
        // A space sorts before all ids.
        let after = after.map_or(" ", AccountId::as_str).to_owned();
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(index)
            .key_condition_expression("#key = :key AND #id > :after")
            .expression_attribute_names("#key", key)
            .expression_attribute_names("#id", ACCOUNT_ID)
            .expression_attribute_values(":key", AttributeValue::S(value.to_owned()))
            .expression_attribute_values(":after", AttributeValue::S(after))
            // One key more than the limit shows whether another page follows.
            .limit(number(limit + 1));
        let answer = query.send().await.map_err(StoreError::unavailable)?;
        let mut ids: Vec<_> = answer.items().iter().filter_map(item::account_id).collect();
        let has_more = ids.len() > limit;
        ids.truncate(limit);
        let next = ids.last().filter(|_| has_more).cloned();
        Ok(Page { items: self.listed(ids).await?, next })
    }

    /// The records of a list, in this order. A corrupt record does not make the list fail.
    pub(super) async fn listed(&self, ids: Vec<AccountId>) -> Result<Vec<Account>, StoreError> {
        let mut records = self.get_all(ids.iter().cloned().collect()).await;
        let mut accounts = Vec::new();
        for account_id in ids {
            match records.remove(&account_id) {
                Some(Ok(Some(stored))) => accounts.push(stored.account),
                Some(Err(StoreError::Corrupt(error))) => {
                    error!(%account_id, %error, "corrupt account record left out of a list");
                }
                Some(Err(error)) => return Err(error),
                Some(Ok(None)) | None => {}
            }
        }
        Ok(accounts)
    }
}

fn number(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}
