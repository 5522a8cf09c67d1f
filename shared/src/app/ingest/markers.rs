//! The events whose meaning depends on more than the record: those with the token of a link, and those about an erased
//! account.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use tracing::error;

use super::{Ingest, Records, Summary};
use crate::app::erase::note_relink;
use crate::domain::account::{EventBody, Fact, Webhook};
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
        let erased = markers.erased.into_iter().map(|(id, erased_at)| (id, None, erased_at));
        let erasing = records.iter().filter_map(|(id, record)| {
            let record = record.as_ref().ok()?.as_ref()?;
            Some((id.clone(), Some(record.clone()), record.account.erasure?.since))
        });
        let mut skipped = Vec::new();
        for (id, record, erased_at) in erased.chain(erasing) {
            let relinked_at = linked_at.get(&id).filter(|linked_at| **linked_at > erased_at);
            if let Some(relinked_at) = relinked_at
                && let Err(error) = note_relink(
                    &self.accounts,
                    &self.refreshes,
                    &id,
                    record,
                    erased_at,
                    *relinked_at,
                )
                .await
            {
                error!(account_id = %id, %error, "new link could not be noted");
                batch.fail([id.clone()]);
            }
            skipped.push(id);
        }
        for event in batch.skip(skipped) {
            log.borrow_mut().ignored(&event, false);
        }
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
