//! Property tests that hold for any facts: the record does not depend on the order of arrival, repeats or stale
//! reads.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::domain::business_day::BusinessDay;
use crate::domain::link_token::{LinkToken, StartedLink};

/// Uses few times, names and values, so that ties, repeats and contradictions are frequent.
fn body() -> impl Strategy<Value = EventBody> {
    let data_status = proptest::option::of(select(vec![
        "AVAILABLE",
        "PARTIAL",
        "UNAVAILABLE",
        "FAILED",
        "PROCESSING",
        "NEW_WORD",
    ]));
    let sync_status = proptest::option::of(select(vec![
        "SUCCESSFUL",
        "FAILED",
        "REAUTHORISATION_REQUIRED",
        "NEW_WORD",
    ]));
    let job_id = proptest::option::of(select(vec!["job-1".to_owned(), "job-2".to_owned()]));
    let details = proptest::option::of(
        select(vec!["Ada Example", "Bola Example"])
            .prop_map(|name| Details { name: Some(name.to_owned()), ..Details::default() }),
    );
    let balance = prop_oneof![
        Just(SentBalance::Missing),
        Just(SentBalance::Unreadable),
        (0..3_i64).prop_map(sent),
    ];
    let parts = vec!["balance".to_owned(), "transactions".to_owned()];
    let retrieved_data = proptest::option::of(subsequence(parts, 0..=2));
    let data_status = (data_status, retrieved_data);
    let updated =
        (data_status, sync_status, job_id.clone(), details, balance, any::<Option<bool>>())
            .prop_map(
                |(
                    (data_status, retrieved_data),
                    sync_status,
                    job_id,
                    details,
                    balance,
                    has_new_data,
                )| {
                    EventBody::Updated(Box::new(Update {
                        data_status: data_status.map(DataStatus::from_word),
                        sync_status: sync_status.map(SyncStatus::from_word),
                        job_id,
                        retrieved_data,
                        details,
                        balance,
                        has_new_data,
                        ..Update::default()
                    }))
                },
            );
    let connected =
        (proptest::option::of(select(vec!["c1".to_owned(), "c2".to_owned()])), any::<bool>())
            .prop_map(|(customer_id, processing)| EventBody::Connected { customer_id, processing });
    let state = select(vec![
        JobState::Running,
        JobState::Finished,
        JobState::Failed,
        JobState::ReauthorisationRequired,
        JobState::Other("odd".to_owned()),
    ]);
    let job = (job_id, state).prop_map(|(id, state)| EventBody::Job(Job { id, state }));
    prop_oneof![
        4 => updated,
        2 => connected,
        2 => job,
        1 => Just(EventBody::ReauthorisationRequired),
        1 => Just(EventBody::Reauthorized),
        1 => Just(EventBody::Unlinked),
        1 => Just(EventBody::SyncFailed),
    ]
}

fn webhook() -> impl Strategy<Value = Fact> {
    let timestamp = proptest::option::of(0..20_u32);
    let key = select(vec!["event-1", "event-2", "event-3"]);
    let reference = proptest::option::of(select(vec!["owner-1".to_owned(), "owner-2".to_owned()]));
    let link = proptest::option::weighted(0.2, select(vec!["owner-1", "owner-2"]));
    (timestamp, 0..20_u32, key, (reference, link), body()).prop_map(
        |(timestamp, received, key, (reference, link), body)| {
            let webhook = Webhook::new(timestamp.map(at), at(received), key, reference, body);
            Fact::Webhook(Webhook { link: link.map(started_link), ..webhook })
        },
    )
}

/// Each owner has a link of their own.
fn started_link(owner: &str) -> StartedLink {
    let token = LinkToken::new([owner.as_bytes()[6]; 17]);
    let started_at = at(u32::from(owner.as_bytes()[6] % 16));
    StartedLink { started_at, token, owner: owner.to_owned() }
}

fn exchange() -> impl Strategy<Value = Fact> {
    let owner = proptest::option::of(select(vec!["owner-1".to_owned(), "owner-2".to_owned()]));
    (0..20_u32, owner)
        .prop_map(|(minute, owner)| Fact::Exchange(Exchange { at: at(minute), owner }))
}

fn unlinking() -> impl Strategy<Value = Fact> {
    (0..20_u32).prop_map(|minute| Fact::Unlinking(at(minute)))
}

fn sync_attempt() -> impl Strategy<Value = Fact> {
    let job_id = proptest::option::of(Just("job-1".to_owned()));
    let data = select(vec![SyncData::Transactions, SyncData::Balance]);
    let success = (any::<bool>(), data, job_id.clone()).prop_map(|(has_new_data, data, job_id)| {
        let balance = Some(MinorUnits(9));
        SyncOutcome::Successful { has_new_data, data, balance, job_id }
    });
    let with_job_id = job_id.prop_flat_map(|job_id| {
        select(vec![
            SyncOutcome::Processing { job_id: job_id.clone() },
            SyncOutcome::ReauthorisationRequired { job_id: job_id.clone() },
            SyncOutcome::Failed { error: mono_error(), job_id },
        ])
    });
    let call_error = select(vec![
        timeout(),
        rate_limited(),
        SyncOutcome::NoResult(CallError::Unavailable),
        SyncOutcome::NoResult(CallError::Unusable(mono_error())),
        SyncOutcome::NoResult(CallError::Refused(mono_error())),
        SyncOutcome::NoResult(CallError::NotConnected),
        SyncOutcome::NotFound { error: mono_error() },
    ]);
    let outcome = prop_oneof![success, with_job_id, call_error];
    let data = select(vec![SyncData::Transactions, SyncData::Balance]);
    (0..20_u32, 0..3_u32, data, any::<bool>(), outcome).prop_map(
        |(start, length, data, incomplete_allowed, outcome)| {
            let (started_at, ended_at) = (at(start), at(start + length));
            Fact::Attempt(SyncAttempt { started_at, ended_at, data, incomplete_allowed, outcome })
        },
    )
}

pub(crate) fn facts() -> impl Strategy<Value = Vec<Fact>> {
    vec(
        prop_oneof![10 => webhook(), 2 => sync_attempt(), 2 => verification(), 1 => import(), 1 => answer(),
            1 => exchange(), 1 => unlinking()],
        1..12,
    )
}

/// A verification of an unlinking that the record may or may not contain, and of the identity.
fn verification() -> impl Strategy<Value = Fact> {
    let reference = proptest::option::of(select(vec!["owner-1".to_owned(), "owner-2".to_owned()]));
    let name = proptest::option::of(select(vec!["Ada Example", "Bola Example"]));
    let refuted = proptest::option::of(select(vec!["one", "other"]).prop_map(ShortHash::of));
    let balance = proptest::option::of(0..3_i64);
    let linked = (reference, any::<bool>(), name, balance, refuted).prop_map(
        |(reference, is_by_token, name, balance, refuted)| {
            let details =
                name.map(|name| Details { name: Some(name.to_owned()), ..Details::default() });
            let (customer_id, balance) = (None, balance.map(MinorUnits));
            let link = reference.as_deref().filter(|_| is_by_token).map(started_link);
            Reading::Linked(Box::new(Reported {
                reference,
                link,
                customer_id,
                details,
                balance,
                refuted,
            }))
        },
    );
    let found = prop_oneof![2 => linked, 1 => Just(Reading::Gone), 1 => Just(Reading::Unknown)];
    let ending = proptest::option::of((0..20_u32, any::<bool>()));
    (0..20_u32, ending, found).prop_map(|(minute, ending, found)| {
        let order = |(minute, is_weak): (u32, bool)| {
            let unlinking = if is_weak { weak } else { strong };
            let Fact::Webhook(Webhook { order, .. }) = unlinking(minute, EventBody::Unlinked)
            else {
                unreachable!()
            };
            order
        };
        Fact::Verification(Verification { at: at(minute), ending: ending.map(order), found })
    })
}

fn answer() -> impl Strategy<Value = Fact> {
    sync_attempt().prop_map(|fact| {
        let Fact::Attempt(SyncAttempt { ended_at, outcome, .. }) = fact else { unreachable!() };
        Fact::Answer(Answer { at: ended_at, outcome })
    })
}

/// An import of a pull that the record may or may not contain.
fn import() -> impl Strategy<Value = Fact> {
    let through = proptest::option::of((0..3_u32).prop_map(at));
    let gap = (0..3_u32, 0..3_u32).prop_map(|(first, tried)| {
        let first = BusinessDay::of(at(first * 24 * 60));
        let reason = GapReason::NotServed;
        Gap { first, last: first, since: at(0), tried: at(tried), reason }
    });
    (webhook(), through, vec(gap, 0..2), notes()).prop_map(|(fact, through, gaps, notes)| {
        let Fact::Webhook(Webhook { order: pull, .. }) = fact else { unreachable!() };
        Fact::Import(Import { pull, state: ImportState { through, gaps, notes } })
    })
}

fn notes() -> impl Strategy<Value = ImportNotes> {
    let total = proptest::option::of(0..3_u32);
    let day = proptest::option::of((0..3_u32).prop_map(|day| BusinessDay::of(at(day * 24 * 60))));
    let job = proptest::option::of(select(vec!["job", "other"]));
    (total, day, any::<bool>(), -1..2_i32, job).prop_map(
        |(total, looked_back_on, is_paged, unexplained, job)| ImportNotes {
            total,
            looked_back_on,
            is_paged,
            unexplained,
            job: job.map(ShortHash::of),
        },
    )
}

/// Facts, and the same facts in another order with some repeats.
fn facts_and_a_redelivery() -> impl Strategy<Value = (Vec<Fact>, Vec<Fact>)> {
    facts().prop_flat_map(|facts| {
        let repeats = subsequence(facts.clone(), 0..=facts.len());
        let everything = repeats.prop_map({
            let facts = facts.clone();
            move |repeats| [facts.clone(), repeats].concat()
        });
        (Just(facts), everything.prop_shuffle())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn facts_in_any_order_with_repeats_produce_the_same_record((facts, redelivery) in facts_and_a_redelivery()) {
        prop_assert_eq!(record(facts), record(redelivery));
    }

    #[test]
    fn derived_values_depend_only_on_the_facts(
        (facts, redelivery) in facts_and_a_redelivery(),
        now in 0..200_u32,
    ) {
        let (one, other) = (record(facts), record(redelivery));
        prop_assert_eq!(one.status_since(at(now)), other.status_since(at(now)));
        prop_assert_eq!(one.next_refresh_at(POLICY), other.next_refresh_at(POLICY));
        prop_assert_eq!(one.view(at(now), POLICY), other.view(at(now), POLICY));
    }

    #[test]
    fn fact_that_changes_nothing_in_an_old_version_changes_nothing_in_a_later_version(
        facts in facts(),
        more in facts(),
        unrelated in facts(),
    ) {
        let old = record(facts.clone());
        let later = more.iter().fold(old.clone(), |account, fact| account.apply(fact));
        for fact in facts.iter().chain(&unrelated).filter(|fact| old.apply(fact) == old) {
            prop_assert_eq!(later.apply(fact), later.clone());
        }
    }

    #[test]
    fn fact_that_writes_a_register_updates_first_seen_and_last_event(facts in facts(), fact in webhook()) {
        let before = record(facts);
        let after = before.apply(&fact);
        if fact.writes_a_register() {
            let Fact::Webhook(webhook) = fact else { unreachable!() };
            prop_assert!(after.registers.first_seen <= Some(webhook.order.at));
            prop_assert!(after.registers.last_event >= Some(webhook.order.at));
        } else {
            prop_assert_eq!(after, before);
        }
    }

    /// Three workers take batches from a queue. Each reads a version that may be stale, folds the batch, and writes
    /// only if the version is still the newest. Between any two steps, other workers may run or the worker may crash.
    /// Unfinished batches are delivered again.
    #[test]
    fn stale_reads_conflicts_and_crashes_lose_no_fact(
        facts in facts(),
        schedule in vec((0..3_usize, 1..4_usize, 0..3_usize, 0..8_u8), 0..80),
    ) {
        let mut history = vec![Account::new(id())];
        let mut queue: Vec<Fact> = facts.clone();
        let mut workers: [Option<(usize, Vec<Fact>)>; 3] = [None, None, None];
        for (worker, size, staleness, crash) in schedule {
            let newest = history.len() - 1;
            match workers[worker].take() {
                None => {
                    let batch = queue.drain(..size.min(queue.len())).collect();
                    workers[worker] = Some((newest.saturating_sub(staleness), batch));
                }
                Some((read, batch)) => {
                    let apply = |account: Account, fact: &Fact| account.apply(fact);
                    let folded = batch.iter().fold(history[read].clone(), apply);
                    let changed = folded != history[read];
                    let conflict = changed && read != newest;
                    let crashed_before_the_write = crash == 0;
                    if changed && !conflict && !crashed_before_the_write {
                        history.push(folded);
                    }
                    let crashed_before_the_delete = crash == 1;
                    if conflict || crashed_before_the_write || crashed_before_the_delete {
                        queue.extend(batch);
                    }
                }
            }
        }
        let unfinished = workers.into_iter().flatten().flat_map(|(_, batch)| batch);
        let remaining = queue.into_iter().chain(unfinished);
        let end = remaining.fold(history.last().unwrap().clone(), |account, fact| account.apply(&fact));
        prop_assert_eq!(end, record(facts));
    }

    /// A webhook before or after the answer to a sync produces the same record.
    #[test]
    fn sync_and_webhooks_in_any_order_produce_the_same_record(
        (facts, redelivery) in facts_and_a_redelivery(),
        sync in sync_attempt(),
        places in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let Fact::Attempt(attempt) = &sync else { unreachable!() };
        let lease = Lease {
            started_at: attempt.started_at,
            until: attempt.ended_at + MINUTE,
            token: [1; 8],
        };
        let begun = record([strong(0, connected())]).begin_sync(lease, POLICY.cooldown).unwrap();
        let ended = |mut facts: Vec<Fact>, place: prop::sample::Index| {
            facts.retain(|fact| matches!(fact, Fact::Webhook(_)));
            let (before, after) = facts.split_at(place.index(facts.len() + 1));
            let apply = |account: Account, fact: &Fact| account.apply(fact);
            let during = before.iter().fold(begun.clone(), apply);
            after.iter().fold(during.end_sync(lease, attempt).unwrap(), apply)
        };
        let one = ended(facts, places.0);
        prop_assert_eq!(&one, &ended(redelivery, places.1));
        prop_assert_eq!(one.lease, None);
    }

    #[test]
    fn account_is_syncing_at_most_as_long_as_its_job_or_lease(
        facts in facts(),
        lease_minutes in proptest::option::of(1..60_u32),
    ) {
        let mut account = record(facts);
        let started_at = at(20);
        account.lease = lease_minutes.map(|minutes| {
            Lease { started_at, until: started_at + minutes * MINUTE, token: [1; 8] }
        });
        // The last fact is at minute 22 or earlier. Its job counts as running for 30 minutes.
        let over = (20 + lease_minutes.unwrap_or(0)).max(22 + 30);
        prop_assert_ne!(account.status_since(at(over)).status, Status::Syncing);
        if let Some(minutes) = lease_minutes {
            let running = account.status_since(at(20 + minutes) - Duration::from_millis(1));
            let urgent =
                account.status_without_sync().status == running.status && running.status != Status::Syncing;
            prop_assert!(running.status == Status::Syncing || urgent, "{:?}", running);
        }
    }

    #[test]
    fn plan_is_empty_before_the_earliest_planned_time(
        facts in facts(),
        queued in proptest::option::of(0..3_000_u32),
        minutes in vec(0..20_000_u32, 20),
    ) {
        let mut account = record(facts);
        account.refresh_queued_at = queued.map(at);
        let bound = account.nothing_planned_before(POLICY);
        for now in minutes.into_iter().map(at) {
            let plan = account.plan(now, POLICY);
            prop_assert!(plan.is_none() || bound.is_some_and(|bound| bound <= now), "{:?}", plan);
        }
    }
}
