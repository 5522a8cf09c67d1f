//! A message of the refresh queue.

use serde_json::{Value, json};

use crate::domain::account_id::AccountId;
use crate::domain::timestamp::Timestamp;

/// A request to refresh an account. The worker decides again which action is due, if any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshJob {
    pub account_id: AccountId,
    /// The time of the planning run. `None`: a webhook requires a verification of the account, and nothing else.
    pub planned_at: Option<Timestamp>,
    /// The account is to be erased, if that is due.
    pub is_erasure: bool,
}

/// The message is not a refresh job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is not a refresh job")]
pub struct UnreadableJob;

impl RefreshJob {
    /// A request to refresh an account, from the planning run of this time.
    pub const fn planned(account_id: AccountId, planned_at: Timestamp) -> Self {
        Self { account_id, planned_at: Some(planned_at), is_erasure: false }
    }

    /// A request to verify an account.
    pub const fn verification(account_id: AccountId) -> Self {
        Self { account_id, planned_at: None, is_erasure: false }
    }

    /// A request to erase an account.
    pub const fn erasure(account_id: AccountId) -> Self {
        Self { account_id, planned_at: None, is_erasure: true }
    }

    /// The body of the SQS message.
    pub fn to_body(&self) -> String {
        let mut body = json!({ "account_id": self.account_id, "planned_at": self.planned_at });
        if self.is_erasure {
            body["erase"] = json!(true);
        }
        body.to_string()
    }

    /// Reads a body written by [`to_body`](Self::to_body).
    ///
    /// # Errors
    ///
    /// [`UnreadableJob`]: the body is not a refresh job.
    pub fn read(body: &str) -> Result<Self, UnreadableJob> {
        let body: Value = serde_json::from_str(body).map_err(|_| UnreadableJob)?;
        let read = || {
            let account_id = body["account_id"].as_str()?.parse().ok()?;
            let planned_at = match &body["planned_at"] {
                Value::Null => None,
                planned_at => Some(Timestamp::parse_rfc3339(planned_at.as_str()?)?),
            };
            Some(Self { account_id, planned_at, is_erasure: body["erase"] == true })
        };
        read().ok_or(UnreadableJob)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_is_read_back_and_other_text_is_rejected() {
        let id = || "a".parse().unwrap();
        let planned_at = Timestamp::from_millis(1_767_603_601_000);
        for job in [
            RefreshJob::planned(id(), planned_at),
            RefreshJob::verification(id()),
            RefreshJob::erasure(id()),
        ] {
            assert_eq!(RefreshJob::read(&job.to_body()), Ok(job));
        }
        for body in ["", "{}", r#"{"account_id":"a","planned_at":""}"#, r#"{"account_id":"a b"}"#] {
            assert_eq!(RefreshJob::read(body), Err(UnreadableJob), "{body}");
        }
    }
}
