//! What the syncs of an account are to come to, and what is to go wrong about calls.

use std::collections::VecDeque;
use std::time::Duration;

use axum::http::HeaderValue;
use serde::{Deserialize, Serialize};
use time::Date;

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
    pub reauth_signal: ReauthSignal,
    /// Whether v2 answers a failed sync with the old data, as if all were well but for the headers.
    pub old_data: bool,
    /// Whether `x-job-status` is in capitals, as in Mono's prose.
    pub capitals: bool,
    /// How v1 spells success.
    pub success_code: SuccessCode,
    /// The HTTP status of a failed sync's answer; Mono documents none.
    pub failure_status: u16,
    /// What the caller meets instead of the answer.
    pub fault: Option<Fault>,
    /// Whether Mono has synced nevertheless when there is a fault.
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
    /// Itself, if it can be carried out.
    pub(crate) fn checked(self) -> Result<Self, Refusal> {
        check_status(self.failure_status)?;
        let fault = self.fault.map(Fault::checked).transpose()?;
        Ok(Self { fault, ..self })
    }

    /// Whether the call never gets as far as a sync.
    pub(crate) fn is_prevented(&self) -> bool {
        self.fault.is_some() && !self.done
    }

    /// Whether the sync brings new data, sooner or later.
    pub(crate) fn brings_new_data(&self) -> bool {
        !self.is_prevented() && self.outcome == Refresh::NewData && self.pace != Pace::NeverEnding
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
    /// jobs, holds its answer back, though not a fault.
    Slow(#[serde(deserialize_with = "seconds")] Duration),
    /// Never: a v2 job is under way for ever, v1 does not answer.
    NeverEnding,
}

/// Where v2 tells that the bank wants the customer; Mono's pages differ. The webhook that follows
/// always says so. Where nothing else is said, `x-job-status` is `failed`, and so is the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReauthSignal {
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
pub enum Fault {
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

/// What goes wrong about one page of transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageFault {
    /// The caller meets this instead of the page.
    Fault(Fault),
    /// The total is off by this much.
    WrongTotal(isize),
    /// The total is this, whatever is asked for: it counts something else.
    OtherTotal(usize),
    /// The page has the rows of the page before.
    Repeated,
    /// This many rows at its end are left out, though the total counts them.
    Missing(usize),
    /// The page is right, but a row comes in before the next call and is the first one that this
    /// call would have got: all rows shift.
    Changing,
}

impl PageFault {
    /// Itself, if it can be carried out.
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
    pub(crate) free_faults: VecDeque<Fault>,
    pub(crate) page_faults: PageFaults,
    /// Once those of a page are used up.
    pub(crate) page_faults_always: PageFaults,
    /// A day that no page can be had of.
    pub(crate) unserved_day: Option<Date>,
}

impl Script {
    pub(crate) fn next_plan(&mut self) -> Plan {
        self.plans.pop_front().unwrap_or_else(|| self.always.clone())
    }

    /// What is to go wrong about a page that is read now. A free fault comes first, and leaves
    /// the page's own for the next try.
    pub(crate) fn next_page_fault(&mut self, number: usize) -> Option<PageFault> {
        if !self.free_faults.is_empty() {
            return None;
        }
        if let Some(place) = self.page_faults.iter().position(|(page, _)| *page == number) {
            return Some(self.page_faults.remove(place).1);
        }
        let mut lasting = self.page_faults_always.iter();
        lasting.find(|(page, _)| *page == number).map(|(_, fault)| fault.clone())
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
    fn plan_can_be_read_whole() {
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
    fn every_fault_is_written_as_it_is_read() {
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
    fn page_faults_are_used_up_page_by_page_and_the_lasting_ones_never() {
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
    fn page_keeps_its_fault_while_there_is_one_for_any_free_call() {
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
    fn unsendable_fault_is_refused() {
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
