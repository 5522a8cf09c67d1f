//! Account records in DynamoDB, and the only write path to them.
//!
//! A record is one item. Optimistic locking guards each write: the whole item is replaced if its `version` is still
//! the version that was read. The first read of a writer may be eventually consistent, at half the price of a
//! consistent read. If that read was stale, the condition fails. If facts change nothing on a stale record, they also change nothing on
//! the newest one.

mod account_rows;
mod attention;
mod batch_write;
mod breaker;
mod erasure;
mod events;
mod item;
mod leases;
mod ledger;
mod links;
mod listing;
mod planning;
mod refresh_rule;
#[cfg(test)]
mod tests;
mod transactions;
mod update;

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use tokio::time::sleep;

pub use account_rows::AccountRows;
pub use attention::{AttentionPosition, InvalidAttentionPosition};
pub use events::EventStore;
pub use item::{CorruptItem, Stored, is_account};
pub use leases::{LeaseResult, Leased, RefreshStart};
pub use ledger::{Entry, Ledger};
pub use links::{ExchangedCode, Markers};
pub use listing::{Group, InvalidListPosition, ListPosition, Page};
pub use planning::{Claim, Found, PlanStart, SEGMENTS, ScanPosition};
pub use transactions::{Selection, TransactionStore};

use crate::aws::sdk::AwsError;
use crate::domain::account::{Account, Fact, RefreshPolicy, Step, Verification};
use crate::domain::account_id::AccountId;
use crate::domain::timestamp::Timestamp;
use crate::random;
use item::{ACCOUNT_ID, Item, VERSION};

#[derive(Clone)]
pub struct AccountStore {
    client: Client,
    table: String,
    policy: RefreshPolicy,
}

/// A record could not be read or written. No data is lost if the caller keeps the facts and applies them again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB returned an error, or could not be reached.
    #[error("DynamoDB call failed: {0}")]
    Unavailable(#[source] AwsError),
    /// DynamoDB left the key unprocessed in every attempt.
    #[error("DynamoDB left the record unread")]
    Unprocessed,
    /// DynamoDB still left rows unprocessed at the deadline.
    #[error("DynamoDB left rows unwritten")]
    Unwritten,
    /// Each attempt to write conflicted with a concurrent write.
    #[error("{MAX_ATTEMPTS} writes in a row conflicted with concurrent writes")]
    Contended,
    /// The stored item is not a valid account record.
    #[error(transparent)]
    Corrupt(#[from] CorruptItem),
    /// The account was erased, so its record is not created again.
    #[error("the account was erased")]
    Erased,
}

impl StoreError {
    fn unavailable(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(AwsError::new(error))
    }
}

enum Change {
    Keep,
    Put(Box<Account>),
    Remove,
}

/// The maximum number of keys in one `BatchGetItem` request.
const MAX_KEYS: usize = 100;
/// The maximum number of `BatchGetItem` requests for the same keys, with exponential back-off between them.
const MAX_ROUNDS: u32 = 6;
/// The maximum number of attempts to write a record. After a conflict, the change is computed again.
const MAX_ATTEMPTS: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(25);

impl AccountStore {
    /// The policy decides the time of the next refresh, which is stored with each record.
    pub fn new(client: Client, table: impl Into<String>, policy: RefreshPolicy) -> Self {
        Self { client, table: table.into(), policy }
    }

    pub const fn policy(&self) -> RefreshPolicy {
        self.policy
    }

    /// Reads one record, eventually consistent. One request.
    pub async fn get(&self, id: &AccountId) -> Result<Option<Stored>, StoreError> {
        self.read(id, false).await
    }

    /// Reads one record, strongly consistent. One request, at twice the price.
    pub async fn get_newest(&self, id: &AccountId) -> Result<Option<Stored>, StoreError> {
        self.read(id, true).await
    }

    /// Reads the records of any number of accounts, eventually consistent, 100 per request. Each account has its own
    /// result. One corrupt item or one throttled key therefore does not affect the other accounts.
    pub async fn get_all(
        &self,
        ids: BTreeSet<AccountId>,
    ) -> HashMap<AccountId, Result<Option<Stored>, StoreError>> {
        let mut results = HashMap::new();
        for chunk in ids.iter().collect::<Vec<_>>().chunks(MAX_KEYS) {
            results.extend(self.get_chunk(chunk).await);
        }
        results
    }

    /// Folds facts into a record and stores it. `seen` is the record from an earlier read. It may be stale. No
    /// request if the facts change nothing. One request if they do and there is no conflict.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the caller must keep the facts and apply them again.
    pub async fn apply(
        &self,
        id: &AccountId,
        seen: Option<Stored>,
        facts: &[&Fact],
    ) -> Result<Vec<Step>, StoreError> {
        let blank = Account::new(id.clone());
        let steps = seen.as_ref().map_or(&blank, |seen| &seen.account).fold(facts);
        self.apply_steps(id, seen, steps, facts).await
    }

    /// Like [`Self::apply`], if the caller has already folded the facts into `seen`, with the result `steps`. The
    /// facts are folded again only after a conflict. Returns the steps that were stored.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the caller must keep the facts and apply them again.
    pub async fn apply_steps(
        &self,
        id: &AccountId,
        seen: Option<Stored>,
        steps: Vec<Step>,
        facts: &[&Fact],
    ) -> Result<Vec<Step>, StoreError> {
        let mut known = Some(steps);
        let folded = |account: &Account| {
            let steps = known.take().unwrap_or_else(|| account.fold(facts));
            let next = steps.last().map_or(account, |step| &step.after).clone();
            (Change::Put(Box::new(next)), steps)
        };
        Ok(Box::pin(self.change(id, seen, folded)).await?.1)
    }

    /// Records Mono's answer to a plain read, as [`Account::end_verification`] decides. `seen` is the record from an
    /// earlier read. One write if there is no conflict. A deleted record stays deleted.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the answer is not recorded, and a later plan reads the account again.
    pub async fn end_verification(
        &self,
        id: &AccountId,
        seen: Stored,
        verification: &Verification,
    ) -> Result<(), StoreError> {
        let end = |account: &Account| match account.end_verification(verification.clone()) {
            _ if account.is_unknown() => (Change::Keep, ()),
            Some(after) => (Change::Put(Box::new(after)), ()),
            None => (Change::Remove, ()),
        };
        Box::pin(self.change(id, Some(seen), end)).await.map(drop)
    }

    /// Changes a record as `decide` says, and returns the stored record. After a conflict, `decide` runs again on the
    /// newest record. A change that leaves the record equal is not written.
    async fn change<T>(
        &self,
        id: &AccountId,
        seen: Option<Stored>,
        mut decide: impl FnMut(&Account) -> (Change, T),
    ) -> Result<(Option<Stored>, T), StoreError> {
        let blank = Account::new(id.clone());
        let mut seen = seen;
        let mut tried: Option<(Stored, T)> = None;
        for conflicts in 0..MAX_ATTEMPTS {
            if conflicts > 0 {
                sleep(pause(conflicts)).await;
                seen = self.read(id, true).await?;
            }
            // This call's own write caused the conflict: its response was lost, and the SDK retried it.
            if let (Some(seen), Some((written, result))) = (&seen, tried.take())
                && seen.version == written.version
            {
                return Ok((Some(written), result));
            }
            let before = seen.as_ref().map_or(&blank, |seen| &seen.account);
            let (change, result) = decide(before);
            match (change, &seen) {
                (Change::Keep, _) => return Ok((seen, result)),
                (Change::Put(next), _) if *next == *before => return Ok((seen, result)),
                (Change::Put(next), _) => {
                    if seen.is_none()
                        && next.erasure.is_none()
                        && let Some(erased_at) =
                            Box::pin(self.erasure_of(id, Timestamp::now())).await?
                        && next.registers.erased_before < Some(erased_at)
                    {
                        return Err(StoreError::Erased);
                    }
                    let next = Stored::next(*next, seen.as_ref());
                    if self.replace(seen.as_ref(), &next).await? {
                        return Ok((Some(next), result));
                    }
                    tried = Some((next, result));
                }
                (Change::Remove, None) => return Ok((None, result)),
                (Change::Remove, Some(seen)) => {
                    if self.remove(seen).await? {
                        return Ok((None, result));
                    }
                }
            }
        }
        Err(StoreError::Contended)
    }

    async fn read(&self, id: &AccountId, consistent: bool) -> Result<Option<Stored>, StoreError> {
        let request = self.client.get_item().table_name(&self.table).consistent_read(consistent);
        let answer =
            request.set_key(Some(item::key(id))).send().await.map_err(StoreError::unavailable)?;
        Ok(answer.item.map(Stored::from_item).transpose()?)
    }

    async fn get_chunk(
        &self,
        ids: &[&AccountId],
    ) -> HashMap<AccountId, Result<Option<Stored>, StoreError>> {
        let absent = ids.iter().map(|id| ((*id).clone(), Ok(None)));
        let mut results: HashMap<_, _> = absent.collect();
        let mut remaining: Vec<Item> = ids.iter().map(|id| item::key(id)).collect();
        let mut failure = StoreError::Unprocessed;
        for round in 0..MAX_ROUNDS {
            if round > 0 {
                sleep(pause(round)).await;
            }
            let (items, unprocessed) = match self.get_items(remaining.clone(), false).await {
                Ok(answer) => answer,
                Err(error) => {
                    failure = error;
                    break;
                }
            };
            for item in items {
                if let Some(id) = item::account_id(&item) {
                    results.insert(id, Stored::from_item(item).map(Some).map_err(Into::into));
                }
            }
            remaining = unprocessed;
            if remaining.is_empty() {
                break;
            }
        }
        let unread = remaining.iter().filter_map(item::account_id);
        results.extend(unread.map(|id| (id, Err(failure.clone()))));
        results
    }

    /// Sends one request. Returns the items found and the unprocessed keys.
    async fn get_items(
        &self,
        keys: Vec<Item>,
        consistent: bool,
    ) -> Result<(Vec<Item>, Vec<Item>), StoreError> {
        let keys =
            KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(consistent).build();
        let keys = keys.map_err(StoreError::unavailable)?;
        let request = self.client.batch_get_item().request_items(&self.table, keys);
        let answer = request.send().await.map_err(StoreError::unavailable)?;
        let items = answer.responses.unwrap_or_default().into_values().flatten().collect();
        let unprocessed = answer.unprocessed_keys.unwrap_or_default().remove(&self.table);
        Ok((items, unprocessed.map(|unprocessed| unprocessed.keys).unwrap_or_default()))
    }

    /// Replaces the version in `seen` with the next record. `false` if `seen` is not the newest version.
    async fn replace(&self, seen: Option<&Stored>, next: &Stored) -> Result<bool, StoreError> {
        let item = next.to_item(self.policy);
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        let put = match seen {
            Some(seen) => put
                .condition_expression("#version = :version")
                .expression_attribute_names("#version", VERSION)
                .expression_attribute_values(":version", seen.version.to_attribute()),
            None => put
                .condition_expression("attribute_not_exists(#id)")
                .expression_attribute_names("#id", ACCOUNT_ID),
        };
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(PutItemError::is_conditional_check_failed_exception) =>
            {
                Ok(false)
            }
            Err(error) => Err(StoreError::unavailable(error)),
        }
    }

    /// Deletes the version in `seen`. `false` if `seen` is not the newest version.
    async fn remove(&self, seen: &Stored) -> Result<bool, StoreError> {
        let delete = self.client.delete_item().table_name(&self.table);
        let delete = delete
            .set_key(Some(item::key(&seen.account.id)))
            .condition_expression("#version = :version")
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_values(":version", seen.version.to_attribute());
        match delete.send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(DeleteItemError::is_conditional_check_failed_exception) =>
            {
                Ok(false)
            }
            Err(error) => Err(StoreError::unavailable(error)),
        }
    }
}

/// Exponential back-off with jitter, so that workers in conflict do not retry at the same time.
fn pause(round: u32) -> Duration {
    random::jittered(FIRST_PAUSE * 2_u32.pow(round.min(5)))
}
