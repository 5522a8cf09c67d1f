//! The events whose meaning depends on more than the record: those with the token of a link, and those about an erased
//! account.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use tracing::error;

use super::{Ingest, Records, Summary};
use crate::app::erase::Relink;
use crate::aws::store::{StoreError, Stored};
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
        let mut skipped: Vec<_> = markers.erased.keys().cloned().collect();
        for (id, erased_at) in markers.erased {
            if self.note_relink(&id, None, erased_at, &linked_at).await.is_err() {
                batch.fail([id]);
            }
        }
        let is_erasing = |id: &AccountId| {
            let record = records.get(id).and_then(|record| record.as_ref().ok()?.as_ref());
            record.is_some_and(|record| record.account.erasure.is_some())
        };
        for id in batch.account_ids().into_iter().filter(is_erasing) {
            match self.note_relink_while_erasing(&id, &linked_at).await {
                Ok(true) => skipped.push(id),
                // The erasure has ended meanwhile. The next delivery sees the new record, or the tombstone.
                Ok(false) | Err(_) => batch.fail([id]),
            }
        }
        for event in batch.skip(skipped) {
            log.borrow_mut().ignored(&event, false);
        }
    }

    /// Notes a new link of an account whose erasure has begun. `false`: the erasure has ended.
    async fn note_relink_while_erasing(
        &self,
        id: &AccountId,
        linked_at: &HashMap<AccountId, Timestamp>,
    ) -> Result<bool, StoreError> {
        // The record was read eventually consistent.
        let read = self.accounts.get_newest(id).await;
        let read = read.inspect_err(
            |error| error!(account_id = %id, %error, "record of an erasure could not be read"),
        );
        let record = read?;
        let erasure = record.as_ref().and_then(|record| record.account.erasure.as_ref());
        let Some(erased_at) = erasure.map(Erasure::voids_until) else {
            return Ok(false);
        };
        self.note_relink(id, record, erased_at, linked_at).await.map(|()| true)
    }

    /// Notes a new link, if an event reports one from after the erasure.
    async fn note_relink(
        &self,
        id: &AccountId,
        record: Option<Stored>,
        erased_at: Timestamp,
        linked_at: &HashMap<AccountId, Timestamp>,
    ) -> Result<(), StoreError> {
        let Some(at) = linked_at.get(id).filter(|linked_at| **linked_at > erased_at) else {
            return Ok(());
        };
        let relink = Relink { id, erased_at };
        let note = |erasure: &Erasure| erasure.relinked(*at);
        let noted = relink.note(&self.accounts, &self.refreshes, record, note).await;
        noted.inspect_err(|error| error!(account_id = %id, %error, "new link could not be noted"))
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
