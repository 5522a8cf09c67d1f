//! A message of the import queue.

use serde_json::{Value, json};

use super::slices::Rest;
use crate::account::{Account, Fact, OrderKey};
use crate::account_id::AccountId;
use crate::business_day::BusinessDay;

/// A wish to have an account's transactions imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportJob {
    /// Whose.
    pub account_id: AccountId,
    /// The place of the pull that brought them: what an import must not be older than.
    pub pull: OrderKey,
    /// Who it is for, if it was queued anew: whoever holds a lease by the message that was there
    /// before holds it by this one.
    pub holder: Option<[u8; 8]>,
    /// Set if a part of the import is done.
    pub carried_on: Option<CarriedOn>,
}

/// Where an import stopped that had no time left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedOn {
    /// The holder of the lease that is passed on.
    pub from: [u8; 8],
    /// What is left of it.
    pub rest: Rest,
    /// From which day on what is done has to be done again.
    pub again_from: Option<BusinessDay>,
}

/// The message is no job of this system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is no import job")]
pub struct UnreadableJob;

impl ImportJob {
    /// A job of which nothing is done.
    #[must_use]
    pub fn new(account_id: AccountId, pull: OrderKey) -> Self {
        Self { account_id, pull, holder: None, carried_on: None }
    }

    /// The import that is due by a record, in which one of these facts has just confirmed a pull. So
    /// a redelivery asks again after a crash, and so does the next pull, whatever it brought itself.
    #[must_use]
    pub fn due<'a>(account: &Account, facts: impl IntoIterator<Item = &'a Fact>) -> Option<Self> {
        let pull = account.import_due()?;
        let asked_for = facts.into_iter().any(Fact::confirms_a_pull);
        asked_for.then(|| Self::new(account.id.clone(), pull))
    }

    /// The body of its message.
    #[must_use]
    pub fn to_body(&self) -> String {
        let mut body = json!({ "account_id": self.account_id, "pull": self.pull.to_hex() });
        if let Some(holder) = self.holder {
            body["holder"] = json!(hex(holder));
        }
        if let Some(CarriedOn { from, rest, again_from }) = &self.carried_on {
            body["carried_on"] = json!({
                "from": hex(*from),
                "first_day": rest.days.start().to_string(),
                "last_day": rest.days.end().to_string(),
                "slice": rest.slice,
                "again_from": again_from.map(|day| day.to_string()),
            });
        }
        body.to_string()
    }

    /// Reads what [`to_body`](Self::to_body) wrote.
    ///
    /// # Errors
    ///
    /// [`UnreadableJob`] for anything else.
    pub fn read(body: &str) -> Result<Self, UnreadableJob> {
        let body: Value = serde_json::from_str(body).map_err(|_| UnreadableJob)?;
        let read = || {
            let carried_on = match &body["carried_on"] {
                Value::Null => None,
                carried_on => Some(CarriedOn::read(carried_on)?),
            };
            let holder = match &body["holder"] {
                Value::Null => None,
                holder => Some(from_hex(holder)?),
            };
            let account_id = body["account_id"].as_str()?.parse().ok()?;
            let pull = OrderKey::from_hex(body["pull"].as_str()?)?;
            Some(Self { account_id, pull, holder, carried_on })
        };
        read().ok_or(UnreadableJob)
    }
}

impl CarriedOn {
    fn read(value: &Value) -> Option<Self> {
        let day = |name: &str| BusinessDay::parse(value[name].as_str()?);
        let days = day("first_day")?..=day("last_day")?;
        let slice = u32::try_from(value["slice"].as_u64()?).ok()?;
        let from = from_hex(&value["from"])?;
        let again_from = match &value["again_from"] {
            Value::Null => None,
            _ => Some(day("again_from")?),
        };
        (!days.is_empty()).then(|| Self { from, rest: Rest::new(days, slice), again_from })
    }
}

fn hex(holder: [u8; 8]) -> String {
    format!("{:016x}", u64::from_be_bytes(holder))
}

fn from_hex(value: &Value) -> Option<[u8; 8]> {
    Some(u64::from_str_radix(value.as_str()?, 16).ok()?.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{Evidence, Rank, ShortHash};
    use crate::timestamp::Timestamp;

    fn job(carried_on: Option<CarriedOn>) -> ImportJob {
        let at = Timestamp::from_millis(1_767_603_601_000);
        let (rank, evidence) = (Rank::Updated, Evidence::Strong);
        let pull = OrderKey { at, rank, evidence, event: ShortHash::of("event") };
        ImportJob { carried_on, ..ImportJob::new("a".parse().unwrap(), pull) }
    }

    fn carried_on() -> CarriedOn {
        let day = |text| BusinessDay::parse(text).unwrap();
        CarriedOn {
            from: [0, 1, 2, 3, 4, 5, 6, 255],
            rest: Rest::new(day("2026-01-01")..=day("2026-03-01"), 16),
            again_from: Some(day("2026-03-05")),
        }
    }

    #[test]
    fn a_job_is_read_as_it_was_written() {
        let anew = ImportJob { holder: Some([0xf; 8]), ..job(None) };
        for job in [job(None), anew, job(Some(carried_on()))] {
            assert_eq!(ImportJob::read(&job.to_body()), Ok(job));
        }
    }

    #[test]
    fn what_is_no_job_is_refused() {
        let job = ImportJob { holder: Some([1; 8]), ..job(Some(carried_on())) };
        let body: Value = serde_json::from_str(&job.to_body()).unwrap();
        for (pointer, value) in [
            ("/account_id", json!("a b")),
            ("/pull", json!("01")),
            ("/holder", json!(7)),
            ("/carried_on", json!("yes")),
            ("/carried_on/from", json!("x")),
            ("/carried_on/slice", json!(-1)),
            ("/carried_on/first_day", json!("2026-03-02")),
            ("/carried_on/last_day", json!(null)),
            ("/carried_on/again_from", json!("soon")),
        ] {
            let mut body = body.clone();
            *body.pointer_mut(pointer).unwrap() = value;
            assert_eq!(ImportJob::read(&body.to_string()), Err(UnreadableJob), "{pointer}");
        }
        for body in ["", "{}", "7", "not json"] {
            assert_eq!(ImportJob::read(body), Err(UnreadableJob), "{body}");
        }
    }
}
