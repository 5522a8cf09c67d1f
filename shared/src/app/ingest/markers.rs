//! The events whose meaning depends on more than the record: those with the token of a link, and those about an erased
//! account.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tracing::error;

use super::{Ingest, Records, Summary};
use crate::aws::queues::Message;
use crate::aws::store::{StoreError, Stored};
use crate::domain::account::{Erasure, EventBody, Fact, Webhook};
use crate::domain::account_id::AccountId;
use crate::domain::link_token::{LinkToken, StartedLink};
use crate::domain::refresh_job::RefreshJob;
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::event::{Event, Interpretation};
use crate::lambda::sqs_batch::Batch;

impl Ingest {
    /// Replaces each token by its link, and ends the events about erased accounts. The tokens of a known link, and
    /// known accounts, need no request. Otherwise one request reads all of them.
    pub(super) async fn apply_markers(
        &self,
        batch: &mut Batch<Event>,
        records: &mut Records,
        log: &RefCell<Summary>,
    ) {
        let unknown: BTreeSet<_> = batch
            .account_ids()
            .into_iter()
            .filter(|id| matches!(records.get(id), Some(Ok(None))))
            .collect();
        let tokens = batch.preview(|id, work| {
            let events = work.iter().filter_map(|work| token(&work.content));
            let is_new = |token: &LinkToken| known_link(records, id, token).is_none();
            (id.clone(), events.filter(is_new).collect::<Vec<_>>())
        });
        let new: BTreeSet<_> = tokens.iter().flat_map(|(_, tokens)| tokens).cloned().collect();
        let Some(markers) =
            batch.prepare(self.accounts.markers(&new, &unknown, Timestamp::now())).await
        else {
            return;
        };
        let linked_at = batch.preview(|id, work| {
            Some((id.clone(), work.iter().filter_map(|work| linked_at(&work.content)).max()?))
        });
        let linked_at: HashMap<_, _> = linked_at.into_iter().flatten().collect();
        let markers = match markers {
            Ok(markers) => markers,
            Err(error) => {
                let with_token = tokens.into_iter().filter(|(_, tokens)| !tokens.is_empty());
                let ids = with_token.map(|(id, _)| id).chain(unknown);
                records.extend(ids.map(|id| (id, Err(error.clone()))));
                return;
            }
        };
        batch.change(|id, event| {
            let Some(token) = token(event) else {
                return;
            };
            let started = || markers.link(&token, event.occurred_at).cloned();
            let link = known_link(records, id, &token).or_else(started);
            if let Some(webhook) = webhook_mut(event) {
                webhook.link = link;
            }
        });
        let is_relinked = |id: &AccountId, erased_at| linked_at.get(id) > Some(&erased_at);
        let erased = markers.erased.iter().filter(|(id, at)| is_relinked(id, **at));
        let mut relinked: Vec<_> = erased.map(|(id, _)| id.clone()).collect();
        let mut skipped: Vec<_> = markers.erased.into_keys().collect();
        // An account that is being erased has a record.
        for (id, record) in records.iter() {
            let Ok(Some(record)) = record else { continue };
            let Some(erasure) = record.account.erasure else { continue };
            skipped.push(id.clone());
            if is_relinked(id, erasure.since) && !erasure.is_relinked {
                match self.note_relinked(record).await {
                    Ok(true) => {}
                    Ok(false) => relinked.push(id.clone()),
                    Err(error) => {
                        error!(account_id = %id, %error, "new link could not be noted");
                        batch.fail(vec![id.clone()]);
                    }
                }
            }
        }
        batch.fail(self.unrequested(&relinked).await);
        for event in batch.skip(skipped) {
            log.borrow_mut().ignored(&event, false);
        }
    }

    /// Notes a new link of an account that is being erased. `false`: the erasure has ended.
    async fn note_relinked(&self, erasing: &Stored) -> Result<bool, StoreError> {
        let relinked = |erasure| Erasure { is_relinked: true, ..erasure };
        Ok(self.accounts.note_erasure(erasing.clone(), relinked).await?.is_some())
    }

    /// Requests a verification of erased accounts that have a new link. Returns the accounts that could not be
    /// requested.
    async fn unrequested(&self, relinked: &[AccountId]) -> Vec<AccountId> {
        let request = |id: &AccountId| Message {
            account_id: id.clone(),
            body: RefreshJob::verification(id.clone()).to_body(),
            delay: Duration::ZERO,
        };
        let failed = self.refreshes.send(&relinked.iter().map(request).collect::<Vec<_>>()).await;
        for (account_id, error) in &failed {
            error!(%account_id, %error, "verification of a new link could not be requested");
        }
        failed.into_keys().collect()
    }
}

/// The link with this token, if an earlier event of the account has carried it.
fn known_link(records: &Records, id: &AccountId, token: &LinkToken) -> Option<StartedLink> {
    let record = records.get(id)?.as_ref().ok()?.as_ref()?;
    let link = record.account.registers.identity.link.as_ref().map(|link| &link.value);
    link.filter(|link| link.token == *token).cloned()
}

fn token(event: &Event) -> Option<LinkToken> {
    LinkToken::parse(webhook(event)?.reference.as_deref()?)
}

/// The time of a link that the event reports.
fn linked_at(event: &Event) -> Option<Timestamp> {
    let webhook = webhook(event)?;
    matches!(webhook.body, EventBody::Connected { .. }).then_some(webhook.order.at)
}

fn webhook(event: &Event) -> Option<&Webhook> {
    match &event.interpretation {
        Interpretation::Fact(_, fact) => match &**fact {
            Fact::Webhook(webhook) => Some(webhook),
            _ => None,
        },
        Interpretation::Nothing(_) => None,
    }
}

fn webhook_mut(event: &mut Event) -> Option<&mut Webhook> {
    match &mut event.interpretation {
        Interpretation::Fact(_, fact) => match &mut **fact {
            Fact::Webhook(webhook) => Some(webhook),
            _ => None,
        },
        Interpretation::Nothing(_) => None,
    }
}
