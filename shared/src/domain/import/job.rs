//! A message of the import queue.

use serde_json::{Value, json};

use super::range::RemainingRange;
use crate::domain::account::{
    Account, Fact, Gap, GapReason, ImportNotes, OrderKey, RowCounts, ShortHash,
};
use crate::domain::account_id::AccountId;
use crate::domain::business_day::{BusinessDay, Days};
use crate::domain::timestamp::Timestamp;
use crate::domain::transaction::SyncedPage;

/// A request to import an account's transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportJob {
    pub account_id: AccountId,
    /// The order key of the pull that brought the transactions. An import must not be older than this pull.
    pub pull: OrderKey,
    /// The lease holder of the message that this message replaces. `None` if it replaces none. A lease taken for the
    /// replaced message belongs to this message too.
    pub holder: Option<[u8; 8]>,
    /// The page in the response to the sync, if there was one.
    pub page: Option<SyncedPage>,
    /// Set if a part of the import is already done.
    pub continuation: Option<Continuation>,
    /// The number of earlier messages in the chain. The import of each message enqueues the next one.
    pub follows: u32,
}

/// The maximum number of messages that follow the first. This is over 16 hours of imports of two minutes each, or two
/// hours of waiting for another import. The template turns off Lambda's own limit of about 16 messages.
const MAX_FOLLOWING: u32 = 500;

/// The state of an import that ran out of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// The number of the lease that the next message takes over.
    pub from: u32,
    /// The days that are not imported yet.
    pub rest: RemainingRange,
    /// The gaps that are known so far.
    pub gaps: Vec<Gap>,
    /// Whether Mono has served any day of the import.
    pub is_served: bool,
    /// The notes about Mono's responses so far.
    pub notes: ImportNotes,
    /// The rows that the import has written so far.
    pub written: RowCounts,
}

/// The message is not an import job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is not an import job")]
pub struct UnreadableJob;

impl ImportJob {
    /// The first job of an import.
    pub fn new(account_id: AccountId, pull: OrderKey) -> Self {
        Self { account_id, pull, holder: None, page: None, continuation: None, follows: 0 }
    }

    /// The import that is due after these facts, if one of them may bring transactions. The record decides which pull
    /// is due, even if the facts changed nothing. A redelivery after a crash, or the next pull, therefore requests
    /// the import again.
    pub fn due<'a>(account: &Account, facts: impl IntoIterator<Item = &'a Fact>) -> Option<Self> {
        let pull = account.import_due()?;
        let is_requested = facts.into_iter().any(Fact::may_bring_transactions);
        is_requested.then(|| Self::new(account.id.clone(), pull))
    }

    /// The next message of the chain, with the same content. `None` if the chain has its maximum length.
    pub fn next(self) -> Option<Self> {
        (self.follows < MAX_FOLLOWING).then(|| Self { follows: self.follows + 1, ..self })
    }

    /// The body of the SQS message.
    pub fn to_body(&self) -> String {
        let mut body = json!({ "account_id": self.account_id, "pull": self.pull.to_hex() });
        if self.follows > 0 {
            body["follows"] = json!(self.follows);
        }
        if let Some(holder) = self.holder {
            body["holder"] = json!(hex(holder));
        }
        if let Some(SyncedPage { rows, total }) = &self.page {
            body["page"] = json!({ "rows": rows, "total": total });
        }
        if let Some(part) = &self.continuation {
            let Continuation { from, rest, gaps, is_served, notes, written } = part;
            body["continuation"] = json!({
                "from": from,
                "ranges": rest.ranges.iter().map(days_to_json).collect::<Vec<_>>(),
                "slice": rest.slice,
                "is_served": is_served,
                "gaps": gaps.iter().map(gap_to_json).collect::<Vec<_>>(),
                "notes": notes_to_json(*notes),
                "written": counts_to_json(*written),
            });
        }
        body.to_string()
    }

    /// Reads a body written by [`to_body`](Self::to_body).
    ///
    /// # Errors
    ///
    /// [`UnreadableJob`]: the body is not an import job.
    pub fn read(body: &str) -> Result<Self, UnreadableJob> {
        let body: Value = serde_json::from_str(body).map_err(|_| UnreadableJob)?;
        let read = || {
            let continuation = match &body["continuation"] {
                Value::Null => None,
                continuation => Some(Continuation::read(continuation)?),
            };
            let holder = match &body["holder"] {
                Value::Null => None,
                holder => Some(from_hex(holder)?),
            };
            let page = match &body["page"] {
                Value::Null => None,
                page => Some(read_page(page)?),
            };
            let follows = match &body["follows"] {
                Value::Null => 0,
                follows => u32::try_from(follows.as_u64()?).ok()?,
            };
            let account_id = body["account_id"].as_str()?.parse().ok()?;
            let pull = OrderKey::from_hex(body["pull"].as_str()?)?;
            Some(Self { account_id, pull, holder, page, continuation, follows })
        };
        read().ok_or(UnreadableJob)
    }
}

impl Continuation {
    fn read(value: &Value) -> Option<Self> {
        let ranges: Vec<_> = value["ranges"].as_array()?.iter().map(days).collect::<Option<_>>()?;
        let slice = u32::try_from(value["slice"].as_u64()?).ok()?;
        let from = value["from"].as_u64()?.try_into().ok()?;
        let gaps = value["gaps"].as_array()?.iter().map(gap).collect::<Option<_>>()?;
        let is_served = value["is_served"].as_bool()?;
        let rest = RemainingRange { ranges, slice };
        let notes = read_notes(&value["notes"]);
        let written = read_counts(&value["written"]);
        (!rest.ranges.is_empty()).then_some(Self { from, rest, gaps, is_served, notes, written })
    }
}

fn read_page(value: &Value) -> Option<SyncedPage> {
    let total = u32::try_from(value["total"].as_u64()?).ok()?;
    Some(SyncedPage { rows: value["rows"].as_str()?.to_owned(), total })
}

fn notes_to_json(notes: ImportNotes) -> Value {
    json!({
        "total": notes.total,
        "looked_back_on": notes.looked_back_on.map(|day| day.to_string()),
        "is_paged": notes.is_paged,
        "unexplained": notes.unexplained,
        "job": notes.job.map(ShortHash::to_hex),
    })
}

/// Missing notes have their defaults. The import determines them again.
fn read_notes(value: &Value) -> ImportNotes {
    ImportNotes {
        total: value["total"].as_u64().and_then(|total| total.try_into().ok()),
        looked_back_on: value["looked_back_on"].as_str().and_then(BusinessDay::parse),
        is_paged: value["is_paged"].as_bool().unwrap_or_default(),
        unexplained: value["unexplained"].as_i64().and_then(|n| n.try_into().ok()).unwrap_or(0),
        job: value["job"].as_str().and_then(ShortHash::from_hex),
    }
}

fn counts_to_json(counts: RowCounts) -> Value {
    let RowCounts { added, modified, removed, interrupted } = counts;
    json!([added, modified, removed, interrupted])
}

/// Counts in another format count as unknown.
fn read_counts(value: &Value) -> RowCounts {
    let read = || {
        let count = |index: usize| value[index].as_u64()?.try_into().ok();
        let [added, modified, removed, interrupted] = [count(0)?, count(1)?, count(2)?, count(3)?];
        Some(RowCounts { added, modified, removed, interrupted })
    };
    read().unwrap_or(RowCounts::INTERRUPTED)
}

fn days_to_json(days: &Days) -> Value {
    json!([days.start().to_string(), days.end().to_string()])
}

fn days(value: &Value) -> Option<Days> {
    let day = |index: usize| BusinessDay::parse(value[index].as_str()?);
    let days = day(0)?..=day(1)?;
    (!days.is_empty()).then_some(days)
}

const GAP_REASONS: [(&str, GapReason); 3] = [
    ("not_whole", GapReason::NotWhole),
    ("most_rows_gone", GapReason::MostRowsGone),
    ("not_served", GapReason::NotServed),
];

fn gap_to_json(gap: &Gap) -> Value {
    let word = GAP_REASONS.iter().find(|(_, reason)| *reason == gap.reason).map(|(word, _)| *word);
    json!({
        "days": days_to_json(&gap.days()),
        "since": gap.since.to_string(),
        "tried": gap.tried.to_string(),
        "reason": word,
    })
}

fn gap(value: &Value) -> Option<Gap> {
    let days = days(&value["days"])?;
    let time = |name: &str| Timestamp::parse_rfc3339(value[name].as_str()?);
    let word = value["reason"].as_str()?;
    Some(Gap {
        first: *days.start(),
        last: *days.end(),
        since: time("since")?,
        tried: time("tried")?,
        reason: GAP_REASONS.iter().find(|(known, _)| *known == word)?.1,
    })
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
    use crate::domain::account::{Rank, TimeSource};

    fn job(continuation: Option<Continuation>) -> ImportJob {
        let at = Timestamp::from_millis(1_767_603_601_000);
        let (rank, time_source) = (Rank::Updated, TimeSource::Event);
        let pull = OrderKey { at, rank, time_source, event: ShortHash::of("event") };
        ImportJob { continuation, ..ImportJob::new("a".parse().unwrap(), pull) }
    }

    fn continuation() -> Continuation {
        let day = |text| BusinessDay::parse(text).unwrap();
        let at = Timestamp::from_millis;
        let gap = |day, reason| Gap { first: day, last: day, since: at(1), tried: at(2), reason };
        Continuation {
            from: 1_769_547_600,
            rest: RemainingRange {
                ranges: vec![
                    day("2026-01-01")..=day("2026-03-01"),
                    day("2025-11-01")..=day("2025-11-01"),
                ],
                slice: 16,
            },
            gaps: GAP_REASONS.map(|(_, reason)| gap(day("2026-03-05"), reason)).to_vec(),
            is_served: true,
            written: RowCounts { added: 5, modified: 1, removed: 2, interrupted: 0 },
            notes: ImportNotes {
                total: Some(278),
                looked_back_on: Some(day("2026-02-28")),
                is_paged: true,
                unexplained: -3,
                job: Some(ShortHash::of("job")),
            },
        }
    }

    fn page() -> SyncedPage {
        SyncedPage { rows: r#"[{"id":"1"}]"#.to_owned(), total: 278 }
    }

    #[test]
    fn written_job_is_read_back_unchanged() {
        let replacing = ImportJob { holder: Some([0xf; 8]), ..job(None) };
        let with_page = ImportJob { page: Some(page()), ..job(None) };
        let following = job(None).next().expect("the first message has a next one");
        for job in [job(None), replacing, with_page, job(Some(continuation())), following] {
            assert_eq!(ImportJob::read(&job.to_body()), Ok(job));
        }
    }

    #[test]
    fn message_chain_ends_500_messages_after_the_first() {
        let chain = std::iter::successors(Some(job(None)), |job| job.clone().next());
        assert_eq!(chain.count(), 501);
    }

    #[test]
    fn body_that_is_not_a_job_is_rejected() {
        let job = ImportJob {
            holder: Some([1; 8]),
            page: Some(page()),
            follows: 1,
            ..job(Some(continuation()))
        };
        let body: Value = serde_json::from_str(&job.to_body()).unwrap();
        for (pointer, value) in [
            ("/account_id", json!("a b")),
            ("/pull", json!("01")),
            ("/holder", json!(7)),
            ("/follows", json!("many")),
            ("/page/total", json!(-1)),
            ("/page/rows", json!([])),
            ("/continuation", json!("yes")),
            ("/continuation/from", json!("x")),
            ("/continuation/slice", json!(-1)),
            ("/continuation/ranges", json!([])),
            ("/continuation/ranges/0", json!(["2026-03-02", "2026-03-01"])),
            ("/continuation/ranges/0/1", json!(null)),
            ("/continuation/gaps/0/days", json!(7)),
            ("/continuation/gaps/0/since", json!("soon")),
            ("/continuation/gaps/0/reason", json!("grave")),
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
