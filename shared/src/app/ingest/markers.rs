//! The events whose meaning depends on more than the record: those with the token of a link, and those about an erased
//! account.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use tracing::error;

use super::{Ingest, Records, Summary};
use crate::app::erase::Relink;
use crate::aws::store::StoreError;
use crate::domain::account::{Erasure, EventBody, Fact, Webhook};
use crate::domain::account_id::AccountId;
use crate::domain::link_token::{LinkToken, StartedLink};
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
        let is_erasing = |id: &AccountId| {
            let record = records.get(id).and_then(|record| record.as_ref().ok()?.as_ref());
            record.is_some_and(|record| record.account.erasure.is_some())
        };
        let concerned = |id: &AccountId| is_erasing(id) || markers.erased.contains_key(id);
        let mut skipped = Vec::new();
        for id in batch.account_ids().into_iter().filter(concerned) {
            let (erased_at, linked_at) = (markers.erased.get(&id), linked_at.get(&id));
            match self.note_relink(&id, erased_at.copied(), linked_at.copied()).await {
                Ok(()) => skipped.push(id),
                Err(error) => {
                    error!(account_id = %id, %error, "event of an erased account is delivered again");
                    batch.fail([id]);
                }
            }
        }
        for event in batch.skip(skipped) {
            log.borrow_mut().ignored(&event, false);
        }
    }

    /// Notes a new link, if an event reports one from after the erasure. `erased_at`: there is a tombstone.
    ///
    /// # Errors
    ///
    /// [`StoreError::Contended`]: the erasure has ended meanwhile. The next delivery sees the new record, or the
    /// tombstone.
    async fn note_relink(
        &self,
        id: &AccountId,
        erased_at: Option<Timestamp>,
        linked_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        // The records of the batch were read eventually consistent.
        let record = self.accounts.get_newest(id).await?;
        let erased_at = match &record {
            None => erased_at,
            Some(record) => record.account.erasure.as_ref().map(Erasure::voids_until),
        };
        let erased_at = erased_at.ok_or(StoreError::Contended)?;
        let Some(at) = linked_at.filter(|linked_at| *linked_at > erased_at) else {
            return Ok(());
        };
        let note = |erasure: &Erasure| erasure.relinked(at);
        Relink { id, erased_at }.note(&self.accounts, &self.refreshes, record, note).await
    }
}

/// The link with this token, if an earlier event of the account has carried it.
fn known_link(records: &Records, id: &AccountId, token: &LinkToken) -> Option<StartedLink> {
    let record = records.get(id)?.as_ref().ok()?.as_ref()?;
    let link = record.account.registers.identity.link.as_ref();
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
