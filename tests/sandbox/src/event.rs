//! Mono's webhooks: each kind in each of its wordings.
//!
//! ```json
//! { "event": "mono.events.<name>", "event_id": "…", "timestamp": "…", "data": {} }
//! ```
//!
//! Only the newest wording of three events has `event_id` and `timestamp`. The place of the account id in
//! `data` differs between events.

mod kind;
mod payload;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

pub use kind::Kind;
pub(crate) use payload::{AUTH_METHOD, institution, job};

use crate::account::{Account, DataStatus, Link};
use crate::id_generator::{IdGenerator, iso};

/// The two generations of Mono's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Data Sync: re-authorisation has its own event.
    V1,
    /// Real-Time Data: re-authorisation is a `sync_status`.
    V2,
}

impl fmt::Display for Dialect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err("must be v1 or v2".to_owned()),
        }
    }
}

/// The unique properties of an event.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// The same on every retry.
    pub event_id: String,
    /// The time of the event.
    pub at: OffsetDateTime,
}

/// One webhook, which a test can change before it sends it.
#[derive(Clone, Debug)]
pub struct Event {
    kind: Kind,
    dialect: Dialect,
    account_id: String,
    body: Value,
}

impl Event {
    /// An event about this account, in the account's dialect.
    pub fn new(kind: Kind, account: &Account, stamp: &Stamp) -> Self {
        let dialect = kind.shape_for(account.dialect);
        let data = payload::data(kind, dialect, account, stamp);
        let mut body = if kind == Kind::TransactionDispute {
            Map::from_iter([("data".to_owned(), data)])
        } else {
            envelope(kind, data)
        };
        if dialect == Dialect::V2 && kind.is_stamped() {
            body.insert("event_id".to_owned(), json!(stamp.event_id));
            body.insert("timestamp".to_owned(), json!(iso(stamp.at)));
        }
        Self { kind, dialect, account_id: account.account_id.clone(), body: Value::Object(body) }
    }

    /// One event of each kind in each of its dialects, all of one account. Every call returns the same.
    pub fn samples() -> Vec<Self> {
        let mut id_generator = IdGenerator::new(0);
        let mut account = Account::fictional(1, Link::default(), Dialect::V2, &mut id_generator);
        let at = datetime!(2026-01-05 09:00 UTC);
        account.data_status = DataStatus::Available;
        account.created_at = at - time::Duration::minutes(2);
        let shapes = Kind::ALL
            .into_iter()
            .flat_map(|kind| kind.dialects().iter().map(move |dialect| (kind, *dialect)));
        shapes
            .map(|(kind, dialect)| {
                account.dialect = dialect;
                let stamp = Stamp { at, ..id_generator.stamp() };
                Self::new(kind, &account, &stamp)
            })
            .collect()
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The dialect of its wording.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The account of the event.
    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    /// The `event_id`, if the event has one.
    pub fn event_id(&self) -> Option<&str> {
        self.body.get("event_id")?.as_str()
    }

    pub fn body(&self) -> &Value {
        &self.body
    }

    /// The same event with another id.
    pub fn with_event_id(self, event_id: &str) -> Self {
        self.with("/event_id", event_id)
    }

    /// The same event with another timestamp, in any format.
    pub fn with_timestamp(self, timestamp: &str) -> Self {
        self.with("/timestamp", timestamp)
    }

    /// The same event with the field at this JSON pointer set, and created if it is missing.
    ///
    /// # Panics
    ///
    /// If a part of the pointer is not an object.
    pub fn with(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let keys = pointer.split('/').skip(1);
        *keys.fold(&mut self.body, |at, key| &mut at[key]) = value.into();
        self
    }

    /// The same event without the field at this JSON pointer.
    pub fn without(mut self, pointer: &str) -> Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", pointer));
        let parent = self.body.pointer_mut(parent);
        if let Some(object) = parent.and_then(Value::as_object_mut) {
            object.remove(key);
        }
        self
    }
}

fn envelope(kind: Kind, data: Value) -> Map<String, Value> {
    Map::from_iter([("event".to_owned(), json!(kind.wire_name())), ("data".to_owned(), data)])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The place of the account id in each event. `None` if the event is not about an account.
    fn account_id_place(event: &Event) -> Option<&'static str> {
        match event.kind() {
            Kind::AccountConnected | Kind::AccountConnectedWithCustomer => Some("/data/id"),
            Kind::ReauthorisationRequiredString => Some("/data"),
            Kind::AccountUnlinked => Some("/data/account/id"),
            Kind::AccountUnlinkedFlat => Some("/data/account_id"),
            Kind::AccountUnlinkedString
            | Kind::JobProcessing
            | Kind::JobFinished
            | Kind::JobFailed
            | Kind::JobSuccessfulInCapitals
            | Kind::JobFailedInCapitals
            | Kind::JobReauthorisationRequired
            | Kind::AccountSynced
            | Kind::AccountIncome
            | Kind::AccountCreditWorthiness
            | Kind::TransactionCategorisation
            | Kind::TransactionMetadata
            | Kind::StatementInsights => Some("/data/account"),
            Kind::WebhookTest
            | Kind::DirectDebitPayment
            | Kind::MandateCreated
            | Kind::DisbursementSuccessful
            | Kind::TransactionDispute => None,
            _ => Some("/data/account/_id"),
        }
    }

    fn sample(kind: Kind, dialect: Dialect) -> Event {
        let matching = |event: &Event| event.kind() == kind && event.dialect() == dialect;
        Event::samples().into_iter().find(matching).expect("a sample")
    }

    fn meta(kind: Kind, field: &str) -> Value {
        sample(kind, Dialect::V2).body()["data"]["meta"][field].clone()
    }

    #[test]
    fn every_event_has_the_account_id_where_mono_puts_it() {
        for event in Event::samples() {
            if let Some(place) = account_id_place(&event) {
                let found = event.body().pointer(place).and_then(Value::as_str);
                assert_eq!(found, Some(event.account_id()), "{}", event.kind());
            }
        }
    }

    #[test]
    fn samples_hold_every_kind_and_dialect_once_and_never_change() {
        let samples = Event::samples();
        let shapes: HashSet<_> =
            samples.iter().map(|event| (event.kind(), event.dialect().to_string())).collect();
        assert_eq!(shapes.len(), samples.len());
        assert!(Kind::ALL.iter().all(|kind| samples.iter().any(|event| event.kind() == *kind)));
        let bodies = |events: &[Event]| events.iter().map(|e| e.body().clone()).collect::<Vec<_>>();
        assert_eq!(bodies(&samples), bodies(&Event::samples()));
    }

    #[test]
    fn only_v2_connected_updated_and_reauthorized_carry_an_id_and_a_time() {
        for event in Event::samples() {
            let stamped = event.kind().is_stamped() && event.dialect() == Dialect::V2;
            assert_eq!(event.event_id().is_some(), stamped, "{}", event.kind());
            assert_eq!(event.body()["timestamp"].is_string(), stamped);
        }
    }

    #[test]
    fn event_name_is_at_the_top_or_for_disputes_in_data() {
        for event in Event::samples() {
            let envelope = match event.kind() {
                Kind::TransactionDispute => &event.body()["data"],
                _ => event.body(),
            };
            assert_eq!(envelope["event"], event.kind().wire_name());
        }
    }

    #[test]
    fn v1_connected_has_only_the_id() {
        let event = sample(Kind::AccountConnected, Dialect::V1);
        assert_eq!(event.body()["data"], json!({ "id": event.account_id() }));
    }

    #[test]
    fn job_event_and_its_update_have_the_same_job_id() {
        let job = sample(Kind::JobFinished, Dialect::V2);
        assert_eq!(job.body()["data"]["id"], meta(Kind::AccountUpdatedBySync, "job_id"));
    }

    #[test]
    fn running_job_with_an_account_object_has_a_job_id() {
        let job = sample(Kind::JobRunningObject, Dialect::V2);
        let expected = json!({
            "account": { "_id": job.account_id() },
            "job_id": meta(Kind::AccountUpdatedBySync, "job_id"),
            "status": "RUNNING",
        });
        assert_eq!(job.body()["data"], expected);
    }

    #[test]
    fn update_by_another_name_has_the_same_data() {
        let update = sample(Kind::AccountUpdated, Dialect::V2);
        let renamed = sample(Kind::AccountUpdatedByAnotherName, Dialect::V2);
        assert_ne!(renamed.body()["event"], update.body()["event"]);
        assert_eq!(renamed.body()["data"], update.body()["data"]);
    }

    #[test]
    fn has_new_data_is_sent_only_if_true() {
        assert_eq!(meta(Kind::AccountUpdatedBySync, "has_new_data"), true);
        assert_eq!(meta(Kind::AccountUpdatedNothingNew, "has_new_data"), Value::Null);
        assert_eq!(meta(Kind::AccountUpdated, "sync_status"), Value::Null);
    }

    #[test]
    fn failed_refresh_has_the_data_status_available() {
        let stale = [
            (Kind::AccountUpdatedSyncFailed, "FAILED"),
            (Kind::AccountUpdatedReauthorisationRequired, "REAUTHORISATION_REQUIRED"),
        ];
        for (kind, sync_status) in stale {
            assert_eq!(meta(kind, "data_status"), "AVAILABLE");
            assert_eq!(meta(kind, "sync_status"), sync_status);
        }
    }

    #[test]
    fn failed_update_has_only_the_balance() {
        assert_eq!(meta(Kind::AccountUpdatedFailed, "data_status"), "FAILED");
        assert_eq!(meta(Kind::AccountUpdatedFailed, "retrieved_data"), json!(["balance"]));
    }

    #[test]
    fn any_field_can_be_set_or_removed() {
        let event = sample(Kind::AccountUpdated, Dialect::V2)
            .with_event_id("mine")
            .with_timestamp("yesterday")
            .with("/data/novelty/depth", 2)
            .without("/data/meta");
        assert_eq!(event.event_id(), Some("mine"));
        assert_eq!(event.body()["timestamp"], "yesterday");
        assert_eq!(event.body()["data"]["novelty"]["depth"], 2);
        assert!(event.body()["data"].get("meta").is_none());
    }

    #[test]
    fn kinds_are_serialised_in_snake_case() {
        let kind: Kind = serde_json::from_str("\"account_updated_by_sync\"").expect("a kind");
        assert_eq!(kind.to_string(), "account_updated_by_sync");
    }
}
