//! Adopts accounts that are linked at Mono and that this system does not know. No call to Mono is made here, and no
//! data counts as fresh.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use crate::aws::queues::{ImportQueue, SendError};
use crate::aws::store::{AccountStore, StoreError, Stored};
use crate::domain::account::{Account, AdoptionStep, Fact, ListedAccount, Reading, Verification};
use crate::domain::account_id::AccountId;
use crate::domain::import::ImportJob;
use crate::domain::timestamp::Timestamp;

/// Applies rows of Mono's list of accounts.
pub struct Adopter {
    pub accounts: AccountStore,
    /// `None`: no import is requested.
    pub imports: Option<ImportQueue>,
    /// Whether nothing is written.
    pub is_dry_run: bool,
}

/// The result for one account.
#[derive(Clone, Debug)]
pub struct Adopted {
    pub step: AdoptionStep,
    /// Whether its first import is requested.
    pub is_import_requested: bool,
}

/// Why an account was not adopted, or its import was not requested.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AdoptError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("import could not be requested: {0}")]
    Queue(#[from] SendError),
}

type Step = (AdoptionStep, Option<ImportJob>);

/// The number of concurrent writes.
const CONCURRENCY: usize = 16;

impl Adopter {
    /// The largest number of accounts in one call.
    pub const MOST: usize = 100;

    /// Adopts accounts. Each account has its own result. Needs one or two reads for all of them, at most two requests
    /// for each new account, and one request for ten imports.
    ///
    /// # Errors
    ///
    /// [`AdoptError`]: the call can be repeated.
    pub async fn adopt(
        &self,
        listed: Vec<ListedAccount>,
        at: Timestamp,
    ) -> HashMap<AccountId, Result<Adopted, AdoptError>> {
        let ids: BTreeSet<_> = listed.iter().map(|account| account.id.clone()).collect();
        let records = self.accounts.get_all(ids).await;
        let is_unknown = |id: &AccountId| matches!(records.get(id), Some(Ok(None)));
        let unknown = records.keys().filter(|id| is_unknown(id)).cloned().collect();
        let erased = match self.accounts.markers(&BTreeSet::new(), &unknown, at).await {
            Ok(markers) => markers.erased,
            Err(error) => {
                let failed = |row: ListedAccount| (row.id, Err(error.clone().into()));
                return listed.into_iter().map(failed).collect();
            }
        };
        let adopted = stream::iter(listed.into_iter().map(|row| {
            let record = records.get(&row.id).cloned().unwrap_or(Ok(None));
            let is_erased = erased.contains_key(&row.id);
            async move {
                let id = row.id.clone();
                let adopted = match record {
                    Ok(_) if is_erased => Ok((AdoptionStep::Erased, None)),
                    Ok(record) => Box::pin(self.adopt_one(row, record, at)).await,
                    Err(error) => Err(error),
                };
                (id, adopted)
            }
        }));
        let adopted: Vec<_> = adopted.buffer_unordered(CONCURRENCY).collect().await;
        let mut unsent = self.request_imports(&adopted).await;
        let result = |(id, adopted): (AccountId, Result<Step, StoreError>)| {
            let result = match (adopted, unsent.remove(&id)) {
                (Err(error), _) => Err(error.into()),
                (Ok(_), Some(error)) => Err(error.into()),
                (Ok((step, job)), None) => Ok(Adopted { step, is_import_requested: job.is_some() }),
            };
            (id, result)
        };
        adopted.into_iter().map(result).collect()
    }

    async fn adopt_one(
        &self,
        ListedAccount { id, reported }: ListedAccount,
        record: Option<Stored>,
        at: Timestamp,
    ) -> Result<Step, StoreError> {
        let blank = Account::new(id.clone());
        let account = record.as_ref().map_or(&blank, |record| &record.account);
        let step = account.adoption(&reported);
        let found = Reading::Linked(Box::new(account.completed(reported, at)));
        let fact = Fact::Verification(Verification { at, ending: None, found });
        let adopted = account.apply(&fact);
        let adopted = match step {
            AdoptionStep::Create | AdoptionStep::Complete if !self.is_dry_run => {
                match self.accounts.apply(&id, record, &[&fact]).await {
                    Ok(mut steps) => steps.pop().map_or(adopted, |step| step.after),
                    Err(StoreError::Erased) => return Ok((AdoptionStep::Erased, None)),
                    Err(error) => return Err(error),
                }
            }
            AdoptionStep::Create | AdoptionStep::Complete => adopted,
            AdoptionStep::Nothing => account.clone(),
            AdoptionStep::Unlinked | AdoptionStep::Erased => return Ok((step, None)),
        };
        let pull = self.imports.as_ref().and_then(|_| adopted.first_import(at));
        Ok((step, pull.map(|pull| ImportJob::new(id, pull))))
    }

    /// Returns the accounts whose import could not be requested.
    async fn request_imports(
        &self,
        adopted: &[(AccountId, Result<Step, StoreError>)],
    ) -> HashMap<AccountId, SendError> {
        let jobs = adopted.iter().filter_map(|(_, adopted)| adopted.as_ref().ok()?.1.clone());
        match self.imports.as_ref().filter(|_| !self.is_dry_run) {
            Some(imports) => imports.send(&jobs.collect::<Vec<_>>(), Duration::ZERO).await,
            None => HashMap::new(),
        }
    }
}
