//! The planned outcomes of an account's syncs, and the planned faults of calls.

use std::collections::VecDeque;
use std::time::Duration;

use axum::http::HeaderValue;
use serde::{Deserialize, Serialize};
use time::Date;

use crate::network::seconds;
use crate::refusal::Refusal;
use crate::scenario::Refresh;

/// The outcome of one sync, and the answer to its caller. The default is an immediate success with new
/// data.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// The outcome at Mono. In v1, `Partial` is an incomplete statement.
    pub outcome: Refresh,
    pub pace: Pace,
    /// The place where v2 says that the bank requires re-authorisation.
    pub reauth_signal: ReauthSignal,
    /// Whether v2 answers a failed sync with the old data. Then only the headers show the failure.
    pub old_data: bool,
    /// Whether `x-job-status` is in upper case, as in the text of Mono's documentation.
    pub capitals: bool,
    /// The code of a success in v1.
    pub success_code: SuccessCode,
    /// The HTTP status of a failed sync's answer. Mono does not document it.
    pub failure_status: u16,
    /// The fault that replaces the answer.
    pub fault: Option<Fault>,
    /// Whether Mono syncs in spite of a fault.
    pub done: bool,
    /// The delay of the answer after the end of the sync, in milliseconds of real time.
    pub delay_millis: u64,
    pub webhooks: Webhooks,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            outcome: Refresh::default(),
            pace: Pace::default(),
            reauth_signal: ReauthSignal::default(),
            old_data: false,
            capitals: false,
            success_code: SuccessCode::default(),
            failure_status: 200,
            fault: None,
            done: false,
            delay_millis: 0,
            webhooks: Webhooks::default(),
        }
    }
}

impl Plan {
    /// The plan, if it is valid.
    pub(crate) fn checked(self) -> Result<Self, Refusal> {
        check_status(self.failure_status)?;
        let fault = self.fault.map(Fault::checked).transpose()?;
        Ok(Self { fault, ..self })
    }

    /// Whether a fault prevents the sync.
    pub(crate) fn is_prevented(&self) -> bool {
        self.fault.is_some() && !self.done
    }

    /// Whether the sync ends with new data.
    pub(crate) fn brings_new_data(&self) -> bool {
        !self.is_prevented() && self.outcome == Refresh::NewData && self.pace != Pace::NeverEnding
    }
}

/// The time at which a sync ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Before the answer.
    #[default]
    AtOnce,
    /// After this much of Mono's time. v2 answers at once that the sync is running. v1 has no jobs, so it
    /// delays its answer, but not a fault.
    Slow(#[serde(deserialize_with = "seconds")] Duration),
    /// Never: a v2 job stays in progress, and v1 does not answer.
    NeverEnding,
}

/// The place where v2 says that the bank requires re-authorisation. Mono's pages differ. The webhook
/// after the sync always says it. In the other cases, `x-job-status` and the job are `failed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReauthSignal {
    /// Only in the webhook.
    #[default]
    Webhook,
    /// In the body's `code`.
    Code,
    /// In the body's `status`.
    Status,
    /// In the header `x-job-status`, and in the job's status when it is polled.
    JobStatus,
    /// In the header `x-reauth-required: true`, without headers about the job: the wording of 2023.
    ReauthHeader,
    /// In the job's status when it is polled.
    JobLookup,
}

/// The code of a success in v1. Mono's pages differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SuccessCode {
    /// In Mono's sample.
    #[default]
    SyncSuccessful,
    /// In Mono's blog.
    SyncedSuccessfully,
    /// In Mono's guide.
    SyncedSuccessful,
}

/// What the network does with the webhooks of a sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Webhooks {
    /// Sent when the sync ends. The answer does not wait for them.
    #[default]
    Sent,
    /// Sent. An answer after the end of the sync waits until every webhook about the account has been
    /// delivered or given up.
    First,
    /// Never sent.
    Lost,
}

/// A fault that replaces an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Mono's error body with this status.
    Status(u16),
    /// Mono's error body with this status and this message.
    Words {
        /// The HTTP status.
        status: u16,
        /// The message in the body.
        message: String,
    },
    /// 429.
    RateLimited {
        /// The seconds in `retry-after`, if it is sent.
        retry_after: Option<u32>,
    },
    /// 200 and incomplete JSON.
    MalformedJson,
    /// An HTML page with this status.
    Html(u16),
    /// 200 and JSON that never ends.
    EndlessBody,
    /// The connection ends without an answer.
    ConnectionClosed,
    /// 307 to this URL.
    Redirect(String),
    /// No answer, for as long as the caller waits.
    Hang,
}

/// A fault of one page of transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageFault {
    /// A fault instead of the page.
    Fault(Fault),
    /// The total is wrong by this much.
    WrongTotal(isize),
    /// The total has this value for every request, as if it counted something else.
    OtherTotal(usize),
    /// The page has the rows of the previous page.
    Repeated,
    /// This many rows are missing at the end of the page. The total includes them.
    Missing(usize),
    /// The page is right. But before the next call, a new row arrives that precedes all others of this
    /// selection, so all rows shift.
    Changing,
}

impl PageFault {
    /// The fault, if it is valid.
    fn checked(self) -> Result<Self, Refusal> {
        match self {
            Self::Fault(fault) => fault.checked().map(Self::Fault),
            other => Ok(other),
        }
    }
}

impl From<Fault> for PageFault {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Page faults by the number of the page.
pub(crate) type PageFaults = Vec<(usize, PageFault)>;

pub(crate) fn check_pages(
    pages: impl IntoIterator<Item = (usize, PageFault)>,
) -> Result<PageFaults, Refusal> {
    pages.into_iter().map(|(page, fault)| Ok((page, fault.checked()?))).collect()
}

impl Fault {
    /// The fault, if it is valid.
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

/// The plans for one account.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) plans: VecDeque<Plan>,
    /// The plan after `plans` are used up.
    pub(crate) always: Plan,
    pub(crate) free_faults: VecDeque<Fault>,
    pub(crate) page_faults: PageFaults,
    /// The faults after those of a page in `page_faults` are used up.
    pub(crate) page_faults_always: PageFaults,
    /// Calls that include this day fail.
    pub(crate) unserved_day: Option<Date>,
}

impl Script {
    pub(crate) fn next_plan(&mut self) -> Plan {
        self.plans.pop_front().unwrap_or_else(|| self.always.clone())
    }

    /// The fault of the next read of a page. A fault in `free_faults` precedes it and keeps the page's
    /// fault for the next attempt.
    pub(crate) fn next_page_fault(&mut self, number: usize) -> Option<PageFault> {
        if !self.free_faults.is_empty() {
            return None;
        }
        if let Some(place) = self.page_faults.iter().position(|(page, _)| *page == number) {
            return Some(self.page_faults.remove(place).1);
        }
        let mut permanent = self.page_faults_always.iter();
        permanent.find(|(page, _)| *page == number).map(|(_, fault)| fault.clone())
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
    fn empty_plan_is_the_default() {
        assert_eq!(read(json!({})), Plan::default());
    }

    #[test]
    fn plan_with_all_fields_is_read() {
        let plan = json!({
            "outcome": "reauthorisation_required",
            "pace": { "slow": 30 },
            "reauth_signal": "job_lookup",
            "old_data": true,
            "capitals": true,
            "success_code": "SYNCED_SUCCESSFULLY",
            "failure_status": 400,
            "fault": { "rate_limited": { "retry_after": 7 } },
            "done": true,
            "delay_millis": 5,
            "webhooks": "lost",
        });
        let expected = Plan {
            outcome: Refresh::ReauthorisationRequired,
            pace: Pace::Slow(Duration::from_secs(30)),
            reauth_signal: ReauthSignal::JobLookup,
            old_data: true,
            capitals: true,
            success_code: SuccessCode::SyncedSuccessfully,
            failure_status: 400,
            fault: Some(Fault::RateLimited { retry_after: Some(7) }),
            done: true,
            delay_millis: 5,
            webhooks: Webhooks::Lost,
        };
        assert_eq!(read(plan), expected);
    }

    #[test]
    fn faults_round_trip() {
        let faults = [
            json!({ "status": 500 }),
            json!({ "rate_limited": { "retry_after": null } }),
            json!("malformed_json"),
            json!({ "html": 502 }),
            json!("endless_body"),
            json!("connection_closed"),
            json!({ "redirect": "http://127.0.0.1:9/" }),
            json!("hang"),
        ];
        for written in faults {
            let fault: Fault = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(json!(fault), written);
        }
    }

    #[test]
    fn page_fault_that_cannot_be_sent_is_refused() {
        let pages = [(1, PageFault::Repeated), (2, Fault::Html(101).into())];
        assert_eq!(check_pages(pages), Err(Refusal::Status(101)));
    }

    #[test]
    fn page_faults_happen_once_each_and_then_the_permanent_one() {
        let mut script = Script {
            page_faults: vec![(2, PageFault::Repeated), (2, PageFault::Missing(1))],
            page_faults_always: vec![(2, PageFault::WrongTotal(1))],
            ..Script::default()
        };
        assert_eq!(script.next_page_fault(1), None);
        let met: Vec<_> = (0..4).filter_map(|_| script.next_page_fault(2)).collect();
        let always = PageFault::WrongTotal(1);
        assert_eq!(met, [PageFault::Repeated, PageFault::Missing(1), always.clone(), always]);
    }

    #[test]
    fn fault_of_a_free_call_precedes_the_page_fault() {
        let mut script = Script {
            free_faults: [Fault::Hang].into(),
            page_faults: vec![(1, PageFault::Repeated)],
            ..Script::default()
        };
        assert_eq!(script.next_page_fault(1), None);
        script.free_faults.clear();
        assert_eq!(script.next_page_fault(1), Some(PageFault::Repeated));
    }

    #[test]
    fn fault_that_cannot_be_sent_is_refused() {
        let fault = |fault| Plan { fault: Some(fault), ..Plan::default() };
        let refused = [
            (Plan { failure_status: 99, ..Plan::default() }, Refusal::Status(99)),
            (fault(Fault::Status(600)), Refusal::Status(600)),
            (fault(Fault::Html(101)), Refusal::Status(101)),
            (fault(Fault::Redirect("\n".to_owned())), Refusal::Header("location".to_owned())),
        ];
        for (plan, refusal) in refused {
            assert_eq!(plan.checked(), Err(refusal));
        }
    }

    #[test]
    fn plans_are_used_once_each_and_then_the_permanent_one() {
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
