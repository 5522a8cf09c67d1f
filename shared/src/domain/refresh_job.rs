//! A message of the refresh queue.

use serde_json::{Value, json};

use crate::domain::account_id::AccountId;
use crate::domain::timestamp::Timestamp;

/// That something was due about an account when a plan was made. What it is, is found out anew when it
/// is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshJob {
    /// Whose.
    pub account_id: AccountId,
    /// When it was planned.
    pub planned_at: Timestamp,
}

/// The message is no job of this system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is no refresh job")]
pub struct UnreadableJob;

impl RefreshJob {
    /// The body of its message.
    pub fn to_body(&self) -> String {
        json!({ "account_id": self.account_id, "planned_at": self.planned_at }).to_string()
    }

    /// Reads what [`to_body`](Self::to_body) wrote.
    ///
    /// # Errors
    ///
    /// [`UnreadableJob`] for anything else.
    pub fn read(body: &str) -> Result<Self, UnreadableJob> {
        let body: Value = serde_json::from_str(body).map_err(|_| UnreadableJob)?;
        let read = || {
            let account_id = body["account_id"].as_str()?.parse().ok()?;
            let planned_at = Timestamp::parse_rfc3339(body["planned_at"].as_str()?)?;
            Some(Self { account_id, planned_at })
        };
        read().ok_or(UnreadableJob)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_is_read_as_it_was_written_and_nothing_else_is() {
        let planned_at = Timestamp::from_millis(1_767_603_601_000);
        let job = RefreshJob { account_id: "a".parse().unwrap(), planned_at };
        assert_eq!(RefreshJob::read(&job.to_body()), Ok(job));
        for body in ["", "{}", r#"{"account_id":"a"}"#, r#"{"account_id":"a b","planned_at":""}"#] {
            assert_eq!(RefreshJob::read(body), Err(UnreadableJob), "{body}");
        }
    }
}
