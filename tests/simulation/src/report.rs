//! The ages of the data, and the costs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use mono_sync::domain::account::Attention;
use mono_sync::domain::spending::CallReason;
use mono_sync::domain::timestamp::Timestamp;

use crate::world::World;

/// The reason why an account has had no new data since its last pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hindrance {
    /// There was no obstacle.
    None,
    /// The bank or Mono was down, or the bank required re-authorisation. This is over.
    Over,
    /// The customer re-authorised, and both webhooks about it were lost.
    WebhooksLost,
    /// The customer linked the account again, and both webhooks about it were lost.
    LinkWebhooksLost,
}

/// The results of any number of accounts.
#[derive(Clone, Debug)]
pub struct Report {
    pub accounts: u64,
    pub days: u64,
    /// Messages of the planner.
    pub queued: u64,
    /// Messages that arrived for accounts that were up to date.
    pub up_to_date: u64,
    /// Polls of jobs.
    pub followed: u64,
    /// Verifications.
    pub checked: u64,
    /// Webhooks that arrived.
    pub webhooks: u64,
    /// Paid calls by reason.
    pub calls: BTreeMap<CallReason, u64>,
    /// Accounts that were stuck at the end: their bank had worked for more than eight days without a
    /// refresh.
    pub stuck: u64,
    /// Writes of records. `index_writes` counts those of the attention indexes.
    record_writes: u64,
    index_writes: u64,
    start: Timestamp,
    /// Paid calls in each minute.
    by_minute: Vec<u32>,
    /// The number of minutes at each age, in minutes, while the bank works. Stored as differences between
    /// neighbouring ages.
    ages: Vec<i64>,
    worst: BTreeMap<Hindrance, Duration>,
}

/// The maximum age in minutes. Older data counts as this.
const OLDEST: usize = 60 * 24 * 60;
const STUCK: Duration = Duration::from_hours(8 * 24);
/// The entries of an account in the attention indexes: by status, all, and by owner.
const INDEXES: u64 = 3;

impl Report {
    /// An empty report.
    pub fn new(world: &World) -> Self {
        let length = world.end.since(world.start);
        Self {
            accounts: 0,
            days: length.as_secs() / 86_400,
            queued: 0,
            up_to_date: 0,
            followed: 0,
            checked: 0,
            webhooks: 0,
            calls: BTreeMap::new(),
            stuck: 0,
            record_writes: 0,
            index_writes: 0,
            start: world.start,
            by_minute: vec![0; minutes(length) + 2],
            ages: vec![0; OLDEST + 1],
            worst: BTreeMap::new(),
        }
    }

    pub(crate) fn paid(&mut self, reason: CallReason, at: Timestamp) {
        *self.calls.entry(reason).or_default() += 1;
        let minute = minutes(at.since(self.start));
        if let Some(count) = self.by_minute.get_mut(minute) {
            *count += 1;
        }
    }

    /// Counts that an account's data aged from `from` to `to`. `worked` is the time that the bank has
    /// worked since the last pull, with the obstacle since then.
    pub(crate) fn aged(&mut self, from: Duration, to: Duration, worked: (Hindrance, Duration)) {
        let worst = self.worst.entry(worked.0).or_default();
        *worst = worked.1.max(*worst);
        self.ages[minutes(from).min(OLDEST)] += 1;
        self.ages[minutes(to).min(OLDEST)] -= 1;
    }

    pub(crate) fn ended(&mut self, worked: Duration) {
        self.stuck += u64::from(worked > STUCK);
    }

    /// Counts a message for an account. Its queued mark is also written to the attention indexes.
    pub(crate) fn queued(&mut self, attention: Option<Attention>) {
        self.queued += 1;
        self.index_writes += INDEXES * u64::from(attention.is_some());
    }

    /// Counts a write of a record, with its place in the attention indexes before and after the write.
    pub(crate) fn written(&mut self, before: Option<Attention>, after: Option<Attention>) {
        self.record_writes += 1;
        let places = match (before, after) {
            (None, None) => 0,
            (Some(before), Some(after)) if before != after => 2,
            _ => 1,
        };
        self.index_writes += INDEXES * places;
    }

    /// The report about the accounts of both reports.
    pub fn plus(mut self, other: Self) -> Self {
        self.accounts += other.accounts;
        self.queued += other.queued;
        self.up_to_date += other.up_to_date;
        self.followed += other.followed;
        self.checked += other.checked;
        self.webhooks += other.webhooks;
        self.stuck += other.stuck;
        self.record_writes += other.record_writes;
        self.index_writes += other.index_writes;
        for (reason, count) in other.calls {
            *self.calls.entry(reason).or_default() += count;
        }
        let sum = |one: &mut [u32], other: &[u32]| {
            one.iter_mut().zip(other).for_each(|(one, other)| *one += other);
        };
        sum(&mut self.by_minute, &other.by_minute);
        self.ages.iter_mut().zip(other.ages).for_each(|(one, other)| *one += other);
        for (hindrance, age) in other.worst {
            let worst = self.worst.entry(hindrance).or_default();
            *worst = age.max(*worst);
        }
        self
    }

    /// The age below which the data was for this share of the time in which the bank worked.
    pub fn age(&self, share: f64) -> Duration {
        let counts = self.minutes_at_age();
        let all: u64 = counts.iter().sum();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a count"
        )]
        let rank = (all as f64 * share) as u64;
        let mut seen = 0;
        let minute = counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        Duration::from_mins(minute.unwrap_or(OLDEST) as u64)
    }

    /// The longest time that a bank worked without a refresh of its account, for this obstacle.
    pub fn worst(&self, hindrance: Hindrance) -> Duration {
        self.worst.get(&hindrance).copied().unwrap_or_default()
    }

    /// The maximum number of paid calls in a minute, without the first days.
    pub fn peak(&self, days: usize) -> u32 {
        self.by_minute.iter().skip(days * 24 * 60).max().copied().unwrap_or_default()
    }

    /// All paid calls.
    pub fn paid_calls(&self) -> u64 {
        self.calls.values().sum()
    }

    fn minutes_at_age(&self) -> Vec<u64> {
        let mut at = 0;
        let count = |difference: &i64| {
            at += difference;
            u64::try_from(at).unwrap_or_default()
        };
        self.ages.iter().map(count).collect()
    }

    /// DynamoDB read and write units in a month of thirty days. Writes of records and of the attention
    /// indexes are counted. The other units follow from the requests that the tests count:
    ///
    /// - an hourly scan: an eighth of a read unit per account;
    /// - a message: 2.5 reads, and one write for the mark;
    /// - a webhook: half a read, and one write for its entry in the history;
    /// - an import, for four in five syncs: one read and two writes of the record, and five reads of rows.
    ///   The writes of rows are not included.
    #[expect(clippy::cast_precision_loss, reason = "of counts far below the limit")]
    pub fn units(&self) -> (f64, f64) {
        let month = 30.0 / self.days.max(1) as f64;
        let (queued, paid) = (self.queued as f64, self.paid_calls() as f64);
        let (webhooks, imports) = (self.webhooks as f64, paid * 0.8);
        let scans = self.accounts as f64 * self.days as f64 * 24.0 / 8.0;
        let reads = scans + queued * 2.5 + webhooks * 0.5 + imports * 6.0;
        let records = (self.record_writes + self.index_writes) as f64;
        let writes = queued + records + webhooks + imports * 2.0;
        (reads * month, writes * month)
    }
}

fn minutes(duration: Duration) -> usize {
    usize::try_from(duration.as_secs() / 60).unwrap_or(usize::MAX)
}

fn hours(duration: Duration) -> f64 {
    duration.as_secs_f64() / 3_600.0
}

/// A table, and a plot of the ages, both in Markdown.
impl fmt::Display for Report {
    #[expect(clippy::cast_precision_loss, reason = "of counts far below the limit")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let a_day = |count: u64| count as f64 / self.days.max(1) as f64;
        let (reads, writes) = self.units();
        writeln!(f, "| {} accounts, {} days | |", self.accounts, self.days)?;
        writeln!(f, "| --- | --- |")?;
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            writeln!(f, "| age of `last_synced_at`, {name} | {:.1} h |", hours(self.age(share)))?;
        }
        for (name, hindrance) in [
            (
                "the longest that a bank worked without a pull, with nothing in the way",
                Hindrance::None,
            ),
            ("with outages, or a wait for the customer, in between", Hindrance::Over),
            ("a recovery that no webhook reported", Hindrance::WebhooksLost),
            ("a new link that no webhook reported", Hindrance::LinkWebhooksLost),
        ] {
            writeln!(f, "| {name} | {:.1} h |", hours(self.worst(hindrance)))?;
        }
        writeln!(f, "| accounts stuck at the end | {} |", self.stuck)?;
        for (reason, count) in &self.calls {
            writeln!(f, "| paid calls a day, {} | {:.0} |", reason.as_str(), a_day(*count))?;
        }
        for (name, count) in [("job_follow_up", self.followed), ("verification", self.checked)] {
            writeln!(f, "| other calls a day, {name} | {:.0} |", a_day(count))?;
        }
        writeln!(
            f,
            "| messages a day for accounts that were up to date | {:.0} |",
            a_day(self.up_to_date)
        )?;
        let (first, later) = (self.peak(0), self.peak(14));
        writeln!(f, "| most paid calls in a minute; after a fortnight | {first}; {later} |")?;
        writeln!(f, "| webhooks a day | {:.0} |", a_day(self.webhooks))?;
        let millions = |units: f64| units / 1e6;
        writeln!(
            f,
            "| DynamoDB, million reads and writes a month | {:.0}, {:.0} |",
            millions(reads),
            millions(writes)
        )?;
        let dollars = millions(reads) * 0.125 + millions(writes) * 0.625;
        writeln!(f, "| DynamoDB, USD a month at 0.125 and 0.625 a million | {dollars:.0} |")?;
        self.plot(f)
    }
}

impl Report {
    #[expect(clippy::cast_precision_loss, reason = "of counts far below the limit")]
    fn plot(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HOURS: usize = 30;
        const WIDTH: f64 = 50.0;
        let counts = self.minutes_at_age();
        let all = counts.iter().sum::<u64>().max(1) as f64;
        let share = |hour: usize| {
            let in_hour = &counts[hour * 60..(hour + 1) * 60];
            in_hour.iter().sum::<u64>() as f64 / all
        };
        let most = (0..HOURS).map(share).fold(f64::MIN_POSITIVE, f64::max);
        writeln!(f, "\n```text\nage, h   share of the time")?;
        for hour in 0..HOURS {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "at most the width"
            )]
            let bar = "█".repeat((share(hour) / most * WIDTH).round() as usize);
            writeln!(f, "{hour:>2} to {:>2} {:>6.2} % {bar}", hour + 1, share(hour) * 100.0)?;
        }
        let older = counts[HOURS * 60..].iter().sum::<u64>() as f64 / all;
        writeln!(f, "older    {:>6.4} %\n```", older * 100.0)
    }
}
