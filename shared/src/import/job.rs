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
}

/// The message is no job of this system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is no import job")]
pub struct UnreadableJob;

impl ImportJob {
    /// The import that is due by a record, in which one of these facts has just confirmed a pull. So
    /// a redelivery asks again after a crash, and so does the next pull, whatever it brought itself.
    #[must_use]
    pub fn due<'a>(account: &Account, facts: impl IntoIterator<Item = &'a Fact>) -> Option<Self> {
        let pull = account.import_due()?;
        let asked_for = facts.into_iter().any(Fact::confirms_a_pull);
        asked_for.then(|| Self { account_id: account.id.clone(), pull, carried_on: None })
    }

    /// The body of its message.
    #[must_use]
    pub fn to_body(&self) -> String {
        let mut body = json!({ "account_id": self.account_id, "pull": self.pull.to_hex() });
        if let Some(CarriedOn { from, rest }) = &self.carried_on {
            body["carried_on"] = json!({
                "from": format!("{:016x}", u64::from_be_bytes(*from)),
                "first_day": rest.days.start().to_string(),
                "last_day": rest.days.end().to_string(),
                "slice": rest.slice,
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
            let account_id = body["account_id"].as_str()?.parse().ok()?;
            Some(Self { account_id, pull: OrderKey::from_hex(body["pull"].as_str()?)?, carried_on })
        };
        read().ok_or(UnreadableJob)
    }
}

impl CarriedOn {
    fn read(value: &Value) -> Option<Self> {
        let day = |name: &str| BusinessDay::parse(value[name].as_str()?);
        let days = day("first_day")?..=day("last_day")?;
        let slice = u32::try_from(value["slice"].as_u64()?).ok()?;
        let from = u64::from_str_radix(value["from"].as_str()?, 16).ok()?.to_be_bytes();
        (!days.is_empty()).then(|| Self { from, rest: Rest::new(days, slice) })
    }
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
        ImportJob { account_id: "a".parse().unwrap(), pull, carried_on }
    }

    fn carried_on() -> CarriedOn {
        let day = |text| BusinessDay::parse(text).unwrap();
        CarriedOn {
            from: [0, 1, 2, 3, 4, 5, 6, 255],
            rest: Rest::new(day("2026-01-01")..=day("2026-03-01"), 16),
        }
    }

    #[test]
    fn a_job_is_read_as_it_was_written() {
        for job in [job(None), job(Some(carried_on()))] {
            assert_eq!(ImportJob::read(&job.to_body()), Ok(job));
        }
    }

    #[test]
    fn what_is_no_job_is_refused() {
        let body: Value = serde_json::from_str(&job(Some(carried_on())).to_body()).unwrap();
        for (pointer, value) in [
            ("/account_id", json!("a b")),
            ("/pull", json!("01")),
            ("/carried_on", json!("yes")),
            ("/carried_on/from", json!("x")),
            ("/carried_on/slice", json!(-1)),
            ("/carried_on/first_day", json!("2026-03-02")),
            ("/carried_on/last_day", json!(null)),
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
