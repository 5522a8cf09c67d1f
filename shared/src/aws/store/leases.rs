//! Leases: the right to sync an account or to import its transactions, taken and released by compare-and-set.

use super::{AccountStore, Change, StoreError, Stored};
use crate::domain::account::{
    Account, ImportEnd, ImportLease, ImportRefusal, Lease, RefreshAction, RowCounts, SyncAttempt,
    SyncRefusal,
};
use crate::domain::account_id::AccountId;
use crate::domain::caller::Caller;
use crate::domain::spending::CallReason;
use crate::domain::timestamp::Timestamp;
use crate::random;

/// A taken lease, and the stored record that holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Leased<L> {
    pub stored: Stored,
    pub lease: L,
}

/// The taken lease, or the record that does not allow the lease and the reason.
pub type LeaseResult<L, R> = Result<Leased<L>, (Box<Account>, R)>;

/// The next step of a planned refresh.
#[derive(Clone, Debug, PartialEq)]
pub enum RefreshStart {
    /// Sync the account. The lease is taken.
    Sync(Box<Leased<Lease>>, CallReason),
    /// An action that needs no lease.
    Other(Box<Account>, RefreshAction),
    /// Nothing to do: the account is up to date, or there is no record.
    Nothing,
}

impl AccountStore {
    /// Takes the lease for a sync by this caller that starts now, and sets the cooldown. The account need not have a
    /// record yet. One consistent read, and one write if the lease is taken.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: no sync may be sent.
    pub async fn begin_sync(
        &self,
        id: &AccountId,
        caller: &Caller,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<LeaseResult<Lease, SyncRefusal>, StoreError> {
        let lease = Lease { started_at: now, until: lease_until, token: random::bytes() };
        let seen = self.get_newest(id).await?;
        let begin = |account: &Account| {
            if !caller.may_see(account) {
                return (Change::Keep, Err((Box::new(account.clone()), SyncRefusal::NotVisible)));
            }
            match account.begin_sync(lease, self.policy.cooldown) {
                Ok(begun) => (Change::Put(Box::new(begun)), Ok(lease)),
                Err(refusal) => (Change::Keep, Err((Box::new(account.clone()), refusal))),
            }
        };
        let (stored, begun) = match Box::pin(self.change(id, seen, begin)).await {
            Err(StoreError::Erased) => {
                let account = Box::new(Account::new(id.clone()));
                return Ok(Err((account, SyncRefusal::NotVisible)));
            }
            changed => changed?,
        };
        Ok(begun.map(|lease| leased(stored, lease)))
    }

    /// Begins a refresh, as [`Account::begin_refresh`] decides. One consistent read, and at most one write.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: no action may be taken.
    pub async fn begin_refresh(
        &self,
        id: &AccountId,
        planned_at: Option<Timestamp>,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<RefreshStart, StoreError> {
        let lease = Lease { started_at: now, until: lease_until, token: random::bytes() };
        let Some(seen) = self.get_newest(id).await? else {
            return Ok(RefreshStart::Nothing);
        };
        let decide = |account: &Account| {
            let (next, action) = account.begin_refresh(planned_at, lease, self.policy);
            (next.map_or(Change::Keep, |next| Change::Put(Box::new(next))), action)
        };
        let (stored, action) = Box::pin(self.change(id, Some(seen), decide)).await?;
        Ok(match (action, stored) {
            (Some(RefreshAction::Sync(reason)), stored) => {
                RefreshStart::Sync(Box::new(leased(stored, lease)), reason)
            }
            (Some(action), Some(stored)) => RefreshStart::Other(Box::new(stored.account), action),
            _ => RefreshStart::Nothing,
        })
    }

    /// Records the outcome of a sync, and releases its lease. `None` if the record is deleted. One write if there is
    /// no conflict.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the lease stays until it expires.
    pub async fn end_sync(
        &self,
        leased: Leased<Lease>,
        attempt: &SyncAttempt,
    ) -> Result<Option<Account>, StoreError> {
        let Leased { stored, lease } = leased;
        let id = stored.account.id.clone();
        let end = |account: &Account| match account.end_sync(lease, attempt) {
            Some(ended) => (Change::Put(Box::new(ended)), ()),
            None => (Change::Remove, ()),
        };
        let (stored, ()) = Box::pin(self.change(&id, Some(stored), end)).await?;
        Ok(stored.map(|stored| stored.account))
    }

    /// Takes the lease of an import for the newest pull of the account. An import that continues the work of another
    /// message keeps its own pull. Also returns whether the message [continues](Account::is_continued_by) an import.
    /// One consistent read, and one write if the lease is taken.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: no transactions may be imported.
    pub async fn begin_import(
        &self,
        id: &AccountId,
        requested: ImportLease,
        continued_from: Option<u32>,
        now: Timestamp,
    ) -> Result<Result<(Leased<ImportLease>, bool), ImportRefusal>, StoreError> {
        let begin = |account: &Account| {
            let continues = account.is_continued_by(requested.holder, continued_from);
            let newest = account.import_due().filter(|_| continued_from.is_none());
            let pull = newest.map_or(requested.pull, |newest| newest.max(requested.pull));
            let lease = ImportLease { pull, ..requested };
            match account.begin_import(lease, continued_from, now) {
                Ok(begun) => (Change::Put(Box::new(begun)), Ok((lease, continues))),
                Err(refusal) => (Change::Keep, Err(refusal)),
            }
        };
        let seen = self.get_newest(id).await?;
        let (stored, begun) = Box::pin(self.change(id, seen, begin)).await?;
        if begun == Err(ImportRefusal::Unknown)
            && Box::pin(self.erasure_of(id, now)).await?.is_some()
        {
            return Ok(Err(ImportRefusal::Erased));
        }
        Ok(begun.map(|(lease, continues)| (leased(stored, lease), continues)))
    }

    /// Records the outcome of an import, and releases its lease. One write if there is no conflict.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the lease stays until it expires.
    pub async fn end_import(
        &self,
        leased: Leased<ImportLease>,
        end: &ImportEnd,
        written: RowCounts,
        settled_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let Leased { stored, lease } = leased;
        let id = stored.account.id.clone();
        let end =
            |account: &Account| match account.end_import(lease.holder, end, written, settled_at) {
                Some(ended) => (Change::Put(Box::new(ended)), ()),
                None => (Change::Keep, ()),
            };
        Box::pin(self.change(&id, Some(stored), end)).await.map(drop)
    }
}

fn leased<L>(stored: Option<Stored>, lease: L) -> Leased<L> {
    Leased { stored: stored.expect("a record with a lease is stored"), lease }
}
