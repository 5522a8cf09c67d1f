//! The events whose meaning depends on more than the record: those with the token of a link, and those about an erased
//! account.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tracing::error;

use super::{Ingest, Records, Summary};
use crate::app::erase::Relink;
use crate::aws::store::StoreError;
use crate::domain::account::{Erasure, EventBody, Fact, TimeSource, Webhook};
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
        let is_erasing = |id: &AccountId| {
            let record = records.get(id).and_then(|record| record.as_ref().ok()?.as_ref());
            record.is_some_and(|record| record.account.erasure.is_some())
        };
        let erasing: BTreeSet<_> = batch.account_ids().into_iter().filter(is_erasing).collect();
        let markers = match markers {
            Ok(markers) => markers,
            Err(error) => {
                let with_token = tokens.into_iter().filter(|(_, tokens)| !tokens.is_empty());
                let ids = with_token.map(|(id, _)| id).chain(unknown).chain(erasing);
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
        let links = batch.preview(|id, work| {
            let links: Vec<_> =
                work.iter().filter_map(|work| reported_link(&work.content)).collect();
            (id.clone(), links)
        });
        let links: HashMap<_, _> = links.into_iter().collect();
        let concerned = |id: &AccountId| erasing.contains(id) || markers.erased.contains_key(id);
        let mut skipped = Vec::new();
        for id in batch.account_ids().into_iter().filter(concerned) {
            let links = links.get(&id).map(Vec::as_slice).unwrap_or_default();
            match self.note_relink(&id, markers.erased.get(&id).copied(), links).await {
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
        links: &[ReportedLink],
    ) -> Result<(), StoreError> {
        // The records of the batch were read eventually consistent.
        let record = self.accounts.get_newest(id).await?;
        let erased_at = match &record {
            None => erased_at,
            Some(record) => record.account.erasure.as_ref().map(Erasure::voids_until),
        };
        let erased_at = erased_at.ok_or(StoreError::Contended)?;
        let since = links.iter().filter(|link| link.earliest > erased_at);
        let Some(at) = since.map(|link| link.at).max() else {
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

/// How long Mono retries a webhook.
const RETRIED_FOR: Duration = Duration::from_hours(48);

/// A link that an event reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ReportedLink {
    /// The earliest time at which it can have been made.
    earliest: Timestamp,
    /// The time of the event.
    at: Timestamp,
}

/// The link that the event reports. An event that has only an id reports none, because a one-time payment sends it too.
/// An event without a timestamp may be a redelivery, but not from before the start of the link whose token it has.
fn reported_link(event: &Event) -> Option<ReportedLink> {
    let webhook = webhook(event)?;
    let EventBody::Connected { customer_id, .. } = &webhook.body else {
        return None;
    };
    let at = webhook.order.at;
    let started_at = webhook.link.as_ref().map(|link| link.started_at);
    let earliest = match webhook.order.time_source {
        TimeSource::Event => at,
        TimeSource::Receipt => started_at.unwrap_or(at - RETRIED_FOR),
    };
    let is_data_link = customer_id.is_some() || webhook.reference.is_some();
    is_data_link.then_some(ReportedLink { earliest, at })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::webhook::event;
    use serde_json::{Value, json};

    fn received_at() -> Timestamp {
        Timestamp::parse_rfc3339("2026-01-27T20:00:00Z").unwrap()
    }

    fn connected(timestamp: Option<&str>, data: &Value) -> Event {
        let event = json!({ "event": "mono.events.account_connected", "timestamp": timestamp, "data": data });
        event::read(&event.to_string(), received_at()).unwrap()
    }

    fn link(timestamp: Option<&str>, data: &Value) -> Option<ReportedLink> {
        reported_link(&connected(timestamp, data))
    }

    #[test]
    fn event_without_a_timestamp_may_report_a_link_of_two_days_before() {
        let data = json!({ "id": "697926f050b9c321c1451dda", "customer": "c" });
        let timestamp = "2026-01-27T19:59:00.000Z";
        let at = Timestamp::parse_rfc3339(timestamp).unwrap();
        assert_eq!(link(Some(timestamp), &data), Some(ReportedLink { earliest: at, at }));
        let untimed = |earliest| Some(ReportedLink { earliest, at: received_at() });
        assert_eq!(link(None, &data), untimed(received_at() - RETRIED_FOR));
        let mut by_token = connected(None, &data);
        let started_at = received_at() - Duration::from_mins(5);
        let token = LinkToken::parse("mslink-aaaaaaaaaaaaaaaaa").unwrap();
        let started = StartedLink { started_at, token, owner: "ada".to_owned() };
        webhook_mut(&mut by_token).unwrap().link = Some(started);
        assert_eq!(reported_link(&by_token), untimed(started_at));
    }

    #[test]
    fn event_with_only_an_id_reports_no_link() {
        let data = json!({ "id": "697926f050b9c321c1451dda" });
        assert_eq!(link(Some("2026-01-27T19:59:00.000Z"), &data), None);
        assert_eq!(link(None, &data), None);
    }
}
