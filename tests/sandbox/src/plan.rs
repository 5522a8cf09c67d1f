//! What the syncs of an account are to come to, and what is to go wrong about calls.

use std::collections::VecDeque;
use std::time::Duration;

use axum::http::HeaderValue;
use serde::{Deserialize, Serialize};

use crate::network::seconds;
use crate::refusal::Refusal;
use crate::scenario::Refresh;

/// What one sync comes to and what its caller is told: a success with new data, at once, unless it
/// says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// What Mono's fetching comes to. In v1 a partial one is an incomplete statement.
    pub outcome: Refresh,
    /// When.
    pub pace: Pace,
    /// Where v2 tells that the bank wants the customer.
    pub demand: Demand,
    /// Whether v2 answers a failed sync with the old data, as if all were well but for the headers.
    pub old_data: bool,
    /// Whether `x-job-status` is in capitals, as in Mono's prose.
    pub capitals: bool,
    /// How v1 spells success.
    pub success_code: SuccessCode,
    /// The HTTP status of a failed sync's answer; Mono documents none.
    pub failure_status: u16,
    /// What the caller meets instead of the answer.
    pub mishap: Option<Mishap>,
    /// Whether Mono has synced nevertheless when there is a mishap.
    pub done: bool,
    /// How long the answer is held back once the sync is over, in real time.
    pub delay_millis: u64,
    /// What becomes of the sync's webhooks.
    pub webhooks: Webhooks,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            outcome: Refresh::default(),
            pace: Pace::default(),
            demand: Demand::default(),
            old_data: false,
            capitals: false,
            success_code: SuccessCode::default(),
            failure_status: 200,
            mishap: None,
            done: false,
            delay_millis: 0,
            webhooks: Webhooks::default(),
        }
    }
}

impl Plan {
    /// Itself, if it can be carried out.
    pub(crate) fn checked(self) -> Result<Self, Refusal> {
        check_status(self.failure_status)?;
        let mishap = self.mishap.map(Mishap::checked).transpose()?;
        Ok(Self { mishap, ..self })
    }

    /// Whether the call never gets as far as a sync.
    pub(crate) fn is_prevented(&self) -> bool {
        self.mishap.is_some() && !self.done
    }
}

/// When a sync ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Before it is answered.
    #[default]
    AtOnce,
    /// After this much of Mono's time. v2 answers at once that it is under way; v1, which knows no
    /// jobs, holds its answer back, though not a mishap.
    Slow(#[serde(deserialize_with = "seconds")] Duration),
    /// Never: a v2 job is under way for ever, v1 does not answer.
    NeverEnding,
}

/// Where v2 tells that the bank wants the customer; Mono's pages differ. The webhook that follows
/// always says so. Where nothing else is said, `x-job-status` is `failed`, and so is the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Demand {
    /// Nowhere but in the webhook.
    #[default]
    Webhook,
    /// In the body's `code`.
    Code,
    /// In the body's `status`.
    Status,
    /// In the header `x-job-status`, and as the job's status when it is looked up.
    JobStatus,
    /// As `x-reauth-required: true`, without a header about the job: the wording of 2023.
    ReauthHeader,
    /// As the job's status when it is looked up.
    JobLookup,
}

/// How v1 spells success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SuccessCode {
    /// In its sample.
    #[default]
    SyncSuccessful,
    /// In its blog.
    SyncedSuccessfully,
    /// In its guide.
    SyncedSuccessful,
}

/// What becomes of a sync's webhooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Webhooks {
    /// Sent when the sync ends; nothing waits for them.
    #[default]
    Sent,
    /// Sent, and an answer that comes after the sync is held back until every webhook about the
    /// account has been delivered or given up.
    First,
    /// Never sent.
    Lost,
}

/// What a caller meets instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mishap {
    /// Mono's error body with this status.
    Status(u16),
    /// Mono's error body with this status and this sentence.
    Words {
        /// The status.
        status: u16,
        /// The sentence.
        message: String,
    },
    /// 429.
    RateLimited {
        /// The seconds in `retry-after`, if it is sent.
        retry_after: Option<u32>,
    },
    /// 200 and JSON that breaks off.
    MalformedJson,
    /// A page for people, with this status.
    Html(u16),
    /// 200 and JSON that never ends.
    EndlessBody,
    /// The connection ends without a byte.
    ConnectionClosed,
    /// 307 to this URL.
    Redirect(String),
    /// Nothing, for as long as the caller waits.
    Hang,
}

impl Mishap {
    /// Itself, if it can be carried out.
    pub(crate) fn checked(self) -> Result<Self, Refusal> {
        match &self {
            Self::Status(status) | Self::Html(status) | Self::Words { status, .. } => {
                check_status(*status)?;
            }
            Self::Redirect(url) if HeaderValue::from_str(url).is_err() => {
                return Err(Refusal::Header("location".to_owned()));
            }
            _ => {}
        }
        Ok(self)
    }
}

fn check_status(status: u16) -> Result<(), Refusal> {
    if (200..600).contains(&status) { Ok(()) } else { Err(Refusal::Status(status)) }
}

/// All that is planned for one account.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) plans: VecDeque<Plan>,
    /// Once the plans are used up.
    pub(crate) always: Plan,
    pub(crate) free_mishaps: VecDeque<Mishap>,
}

impl Script {
    pub(crate) fn next_plan(&mut self) -> Plan {
        self.plans.pop_front().unwrap_or_else(|| self.always.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(plan: Value) -> Plan {
        serde_json::from_value(plan).unwrap()
    }

    #[test]
    fn an_empty_plan_is_the_default() {
        assert_eq!(read(json!({})), Plan::default());
    }

    #[test]
    fn a_plan_can_be_read_whole() {
        let plan = json!({
            "outcome": "reauthorisation_required",
            "pace": { "slow": 30 },
            "demand": "job_lookup",
            "old_data": true,
            "capitals": true,
            "success_code": "SYNCED_SUCCESSFULLY",
            "failure_status": 400,
            "mishap": { "rate_limited": { "retry_after": 7 } },
            "done": true,
            "delay_millis": 5,
            "webhooks": "lost",
        });
        let expected = Plan {
            outcome: Refresh::ReauthorisationRequired,
            pace: Pace::Slow(Duration::from_secs(30)),
            demand: Demand::JobLookup,
            old_data: true,
            capitals: true,
            success_code: SuccessCode::SyncedSuccessfully,
            failure_status: 400,
            mishap: Some(Mishap::RateLimited { retry_after: Some(7) }),
            done: true,
            delay_millis: 5,
            webhooks: Webhooks::Lost,
        };
        assert_eq!(read(plan), expected);
    }

    #[test]
    fn every_mishap_is_written_as_it_is_read() {
        let mishaps = [
            json!({ "status": 500 }),
            json!({ "rate_limited": { "retry_after": null } }),
            json!("malformed_json"),
            json!({ "html": 502 }),
            json!("endless_body"),
            json!("connection_closed"),
            json!({ "redirect": "http://127.0.0.1:9/" }),
            json!("hang"),
        ];
        for written in mishaps {
            let mishap: Mishap = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(json!(mishap), written);
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let mishap = |mishap| Plan { mishap: Some(mishap), ..Plan::default() };
        let refused = [
            (Plan { failure_status: 99, ..Plan::default() }, Refusal::Status(99)),
            (mishap(Mishap::Status(600)), Refusal::Status(600)),
            (mishap(Mishap::Html(101)), Refusal::Status(101)),
            (mishap(Mishap::Redirect("\n".to_owned())), Refusal::Header("location".to_owned())),
        ];
        for (plan, refusal) in refused {
            assert_eq!(plan.checked(), Err(refusal));
        }
    }

    #[test]
    fn plans_are_used_up_one_by_one_and_the_lasting_one_never() {
        let outcome = |outcome| Plan { outcome, ..Plan::default() };
        let mut script = Script {
            plans: [outcome(Refresh::Failed), outcome(Refresh::Partial)].into(),
            always: outcome(Refresh::NothingNew),
            ..Script::default()
        };
        let outcomes: Vec<_> = (0..4).map(|_| script.next_plan().outcome).collect();
        let expected =
            [Refresh::Failed, Refresh::Partial, Refresh::NothingNew, Refresh::NothingNew];
        assert_eq!(outcomes, expected);
    }
}
