//! A verification: one plain read of the account at Mono, which decides whose account it is and whether it is linked.

use std::collections::BTreeSet;

use tokio::time::Instant;
use tracing::{error, warn};

use crate::app::refresh::{Refreshed, Refresher};
use crate::app::sync::{RECORDING_TIME, SyncError, in_time};
use crate::aws::store::{EventStore, StoreError};
use crate::domain::account::{Account, OrderKey, Reading, Reported, Step, Verification};
use crate::domain::account_id::AccountId;
use crate::domain::history::Entry;
use crate::domain::link_token::StartedLink;
use crate::domain::spending::CallReason;
use crate::domain::timestamp::Timestamp;
use crate::mono::Session;

impl Refresher {
    /// Reads the account at Mono and records the answer. The read has already been recorded as begun at this time.
    pub(super) async fn verify(
        &self,
        id: &AccountId,
        ending: Option<OrderKey>,
        at: Timestamp,
        mono: &Session<'_>,
        by: Instant,
    ) -> Result<Refreshed, SyncError> {
        let mut found = match mono.account(id, CallReason::Verification, by).await {
            Ok(found) => found,
            Err(error) => return Ok(Refreshed::Unanswered(error)),
        };
        let accounts = &self.syncer.accounts;
        let by = by + RECORDING_TIME;
        let Some(seen) = in_time(by, accounts.get_newest(id)).await? else {
            return Ok(Refreshed::Verified);
        };
        if let Reading::Linked(reported) = &mut found {
            reported.link = in_time(by, self.new_link(&seen.account, reported, at)).await?;
        }
        let verification = Verification { at, ending, found };
        if let Some(after) = seen.account.end_verification(verification.clone()) {
            let step = Step { before: seen.account.clone(), after };
            if step.changes_the_owner() {
                note_new_owner(self.events.as_ref(), id, at, &step).await;
            }
        } else {
            warn!(account_id = %id, "record is removed, because Mono denies the account");
        }
        in_time(by, accounts.end_verification(id, seen, &verification)).await?;
        Ok(Refreshed::Verified)
    }

    /// The link that Mono's answer names, if no event of the account has named it. At most one request.
    pub(super) async fn new_link(
        &self,
        account: &Account,
        reported: &Reported,
        at: Timestamp,
    ) -> Result<Option<StartedLink>, StoreError> {
        let Some(token) = account.new_token(reported) else {
            return Ok(None);
        };
        let tokens = [token.clone()].into();
        let markers = self.syncer.accounts.markers(&tokens, &BTreeSet::new(), at).await?;
        Ok(markers.link(&token, at).cloned())
    }
}

/// Reports another owner of an account. Call this before the record is written, so that a crash cannot lose the entry.
pub(super) async fn note_new_owner(
    events: Option<&EventStore>,
    id: &AccountId,
    at: Timestamp,
    step: &Step,
) {
    warn!(account_id = %id, code = "OWNER_CHANGED", "owner of the account changed");
    let Some(events) = events else {
        return;
    };
    let entry = (id.clone(), Entry::of_owner_change(at, step));
    if let Some(error) = events.write([entry]).await.into_values().next() {
        error!(account_id = %id, %error, "change of the owner could not be written to the history");
    }
}
