//! Reads and lists the accounts that a caller may see, and records the reads.

use tracing::warn;

use crate::aws::store::{
    AccountStore, AttentionPosition, Group, ListPosition, Page, StoreError, Stored,
};
use crate::domain::account::{Account, Status};
use crate::domain::account_id::AccountId;
use crate::domain::caller::Caller;
use crate::domain::timestamp::Timestamp;

pub struct AccountReader {
    pub store: AccountStore,
}

/// The accounts that a caller asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountFilter {
    pub reference: Option<String>,
    pub customer: Option<String>,
    pub status: Option<StatusFilter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFilter {
    /// Every status that needs attention.
    Attention,
    /// One status that needs attention.
    Only(Status),
}

impl AccountFilter {
    fn includes(&self, account: &Account) -> bool {
        let has_status = self.status.is_none_or(|wanted| {
            account.attention().is_some_and(|attention| match wanted {
                StatusFilter::Attention => true,
                StatusFilter::Only(status) => attention.status == status,
            })
        });
        let is_equal = |wanted: &Option<String>, held: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| held == Some(wanted))
        };
        has_status
            && is_equal(&self.reference, account.owner())
            && is_equal(&self.customer, account.customer())
    }

    /// Whether the list is in the order of [`AttentionPosition`].
    pub const fn is_by_attention(&self) -> bool {
        self.status.is_some() && self.customer.is_none()
    }
}

impl AccountReader {
    /// Reads an account. `None` if it does not exist for this caller. Strongly consistent, so that a former owner does
    /// not see the account. One request.
    pub async fn visible(
        &self,
        id: &AccountId,
        caller: &Caller,
    ) -> Result<Option<Stored>, StoreError> {
        let stored = self.store.get_newest(id).await?;
        Ok(stored.filter(|stored| caller.may_see(&stored.account)))
    }

    /// Lists accounts that the caller may see, in the order of [`AccountStore::list`]. For a filter that
    /// [is by attention](AccountFilter::is_by_attention), use [`attention`](Self::attention).
    pub async fn list(
        &self,
        caller: &Caller,
        filter: &AccountFilter,
        limit: usize,
        after: Option<&ListPosition>,
    ) -> Result<Page<Account, ListPosition>, StoreError> {
        let group = match (owner(caller, filter), &filter.customer) {
            (Some(owner), _) => Group::Reference(owner),
            (None, Some(customer)) => Group::Customer(customer),
            (None, None) => Group::All,
        };
        let page = self.store.list(group, limit, after).await?;
        Ok(shown(page, caller, filter))
    }

    /// Lists accounts that need attention and that the caller may see, the most stale first.
    pub async fn attention(
        &self,
        caller: &Caller,
        filter: &AccountFilter,
        limit: usize,
        after: Option<AttentionPosition>,
    ) -> Result<Page<Account, AttentionPosition>, StoreError> {
        let status = match filter.status {
            Some(StatusFilter::Only(status)) => Some(status),
            Some(StatusFilter::Attention) | None => None,
        };
        let page = self.store.attention(owner(caller, filter), status, limit, after).await?;
        Ok(shown(page, caller, filter))
    }

    /// Records that the account was read, at most once per interval. Under the rule `on_read`, a recorded read makes
    /// the account due. A read that cannot be recorded is only logged. `None` if the caller may not see the account any
    /// more.
    pub async fn note_read(
        &self,
        stored: Stored,
        caller: &Caller,
        request_id: &str,
    ) -> Option<Account> {
        let account = stored.account.clone();
        self.store.note_read(stored, caller, Timestamp::now()).await.unwrap_or_else(|error| {
            warn!(request_id, account_id = %account.id, %error, "account read could not be recorded");
            Some(account)
        })
    }
}

/// The owner whose accounts are listed, if there is only one.
fn owner<'a>(caller: &'a Caller, filter: &'a AccountFilter) -> Option<&'a str> {
    match caller {
        Caller::Owner(owner) => Some(owner),
        Caller::Trusted => filter.reference.as_deref(),
    }
}

/// An index may lag behind the records, so the records decide.
fn shown<P>(page: Page<Account, P>, caller: &Caller, filter: &AccountFilter) -> Page<Account, P> {
    let mut page = page;
    page.items.retain(|account| caller.may_see(account) && filter.includes(account));
    page
}
