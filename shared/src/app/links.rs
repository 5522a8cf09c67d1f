//! The beginning and the end of a link: a hosted link, the exchange of a code, and an unlinking.

use tracing::info;

use crate::app::erase::Relink;
use crate::app::verification::note_new_owner;
use crate::aws::queues::AccountQueue;
use crate::aws::secrets::SecretUnavailable;
use crate::aws::store::{AccountStore, EventStore, ExchangedCode, StoreError, Stored};
use crate::domain::account::{Account, Erasure, Exchange, Fact, Link};
use crate::domain::account_id::AccountId;
use crate::domain::link_token::{LinkToken, StartedLink};
use crate::domain::timestamp::Timestamp;
use crate::lambda::invocation::Invocation;
use crate::mono::{LinkError, LinkPage, LinkRequest, Mono};
use crate::random;

/// Links accounts at Mono, and unlinks them.
pub struct Linker {
    pub accounts: AccountStore,
    pub mono: Mono,
    /// `None` if no histories are kept.
    pub events: Option<EventStore>,
    /// The refresh queue, for erasures and for the confirmation of new links.
    pub refreshes: AccountQueue,
}

/// Why nothing was linked or unlinked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key of the Mono app cannot be read.
    #[error(transparent)]
    Key(#[from] SecretUnavailable),
    #[error("Mono did not do it: {0:?}")]
    Mono(LinkError),
    /// Another owner has exchanged the code.
    #[error("another owner has exchanged the code")]
    ForeignCode,
    /// The account was erased after the exchange.
    #[error("the account was erased after the exchange")]
    Erased,
}

impl Linker {
    /// Requests Mono's page for a new link of this owner. The token is stored before Mono is called, so an event that
    /// carries it always finds the owner. Mono's page is not stored.
    ///
    /// # Errors
    ///
    /// [`Failure`]: there is no link.
    pub async fn start(
        &self,
        owner: String,
        request: &LinkRequest,
        invocation: &Invocation,
    ) -> Result<LinkPage, Failure> {
        let now = Timestamp::now();
        let mono = self.mono.session(now).await?;
        let token = LinkToken::new(random::bytes());
        let link = StartedLink { started_at: now, token, owner };
        self.accounts.start_link(&link).await?;
        let page = mono.start_link(&link.token, request, invocation.deadline).await;
        let page = page.map_err(Failure::Mono)?;
        info!(request_id = invocation.request_id, "link started");
        Ok(page)
    }

    /// Exchanges a code of Mono's widget for the account id, and binds the account to the owner. A second exchange of
    /// the code has the same result, without a call to Mono.
    ///
    /// # Errors
    ///
    /// [`Failure`]: the account is not bound. The same code can be exchanged again, unless Mono had accepted it.
    pub async fn exchange(
        &self,
        code: &str,
        owner: Option<String>,
        invocation: &Invocation,
    ) -> Result<AccountId, Failure> {
        let now = Timestamp::now();
        let exchanged = match self.accounts.exchanged(code, now).await? {
            Some(earlier) if earlier.owner != owner => return Err(Failure::ForeignCode),
            Some(earlier) => earlier,
            None => {
                let mono = self.mono.session(now).await?;
                let account_id = mono.exchange(code, invocation.deadline).await;
                let account_id = account_id.map_err(Failure::Mono)?;
                // No read of the account that is recorded until now is newer.
                let exchanged = ExchangedCode { account_id, at: Timestamp::now(), owner };
                self.accounts.note_exchange(code, &exchanged).await?;
                exchanged
            }
        };
        Box::pin(self.bind(&exchanged, &invocation.request_id)).await?;
        Ok(exchanged.account_id)
    }

    async fn bind(&self, exchanged: &ExchangedCode, request_id: &str) -> Result<(), Failure> {
        let ExchangedCode { account_id, at, owner } = exchanged;
        let seen = self.accounts.get_newest(account_id).await?;
        let exchange = Exchange { at: *at, owner: owner.clone() };
        if let Some(erasure) = seen.as_ref().and_then(|seen| seen.account.erasure.clone()) {
            if erasure.since >= *at {
                return Err(Failure::Erased);
            }
            // The account gets this owner when the erasure has ended.
            let relink = Relink { id: account_id, erased_at: erasure.since };
            let note = |erasure: &Erasure| erasure.exchanged(&exchange);
            return Ok(relink.note(&self.accounts, &self.refreshes, seen, note).await?);
        }
        let exchange = Fact::Exchange(exchange);
        let erased_at = match &seen {
            None => self.accounts.erasure_of(account_id, Timestamp::now()).await?,
            Some(seen) => seen.account.registers.erased_before,
        };
        // A repeated exchange from before the erasure proves no new link.
        if erased_at >= Some(*at) {
            return Err(Failure::Erased);
        }
        let erased = erased_at.filter(|_| seen.is_none()).map(Fact::Erased);
        let facts: Vec<_> = erased.iter().chain([&exchange]).collect();
        let blank = Account::new(account_id.clone());
        let steps = seen.as_ref().map_or(&blank, |seen| &seen.account).fold(&facts);
        let noted = steps.last().filter(|step| step.changes_the_owner()).cloned();
        if let Some(step) = &noted {
            note_new_owner(self.events.as_ref(), account_id, *at, step).await;
        }
        let steps = self.accounts.apply_steps(account_id, seen, steps, &facts).await?;
        // After a conflict with another write, the exchange may change an owner that was not seen before.
        let changed = steps.last().filter(|step| step.changes_the_owner() && noted.is_none());
        if let Some(step) = changed {
            note_new_owner(self.events.as_ref(), account_id, *at, step).await;
        }
        if steps.last().is_some_and(|step| step.after.erasure.is_some()) {
            // An erasure has begun meanwhile. The same code can be exchanged again.
            return Err(StoreError::Contended.into());
        }
        if erased.is_some() {
            self.accounts.forget_erasure(account_id).await?;
        }
        info!(request_id, %account_id, "code exchanged");
        Ok(())
    }

    /// Unlinks an account at Mono, and records it. An account whose link has ended needs no call.
    ///
    /// # Errors
    ///
    /// [`Failure`]: the account is as before. If only the record could not be written, Mono's webhook brings the
    /// unlinking.
    pub async fn unlink(&self, stored: Stored, invocation: &Invocation) -> Result<(), Failure> {
        if matches!(stored.account.link(), Link::Ended { .. }) {
            return Ok(());
        }
        let account_id = stored.account.id.clone();
        let mono = self.mono.session(Timestamp::now()).await?;
        let unlinked = mono.unlink(&account_id, invocation.deadline).await;
        unlinked.map_err(|error| Failure::Mono(error.without_name_of(&stored.account)))?;
        let fact = Fact::Unlinking(Timestamp::now());
        self.accounts.apply(&account_id, Some(stored), &[&fact]).await?;
        info!(request_id = invocation.request_id, %account_id, "account unlinked");
        Ok(())
    }
}
