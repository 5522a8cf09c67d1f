use super::*;
use crate::domain::spending::{CallReason, Naira, Prices};

fn planned(account: &Account, minute: u32) -> Option<RefreshAction> {
    account.plan(at(minute), POLICY)
}

fn queued(account: &Account, minute: u32) -> Account {
    Account { refresh_queued_at: Some(at(minute)), ..account.clone() }
}

/// A time in minutes at which an account that was synced at minute 0 is overdue.
const NEXT_DAY: u32 = 24 * 60 + 1;
const DAY_MINUTES: u32 = 24 * 60;

const SCHEDULED: Option<RefreshAction> = Some(RefreshAction::Sync(CallReason::Scheduled));

fn processing(job_id: &str) -> SyncOutcome {
    SyncOutcome::Processing { job_id: Some(job_id.to_owned()) }
}

#[test]
fn overdue_account_is_planned_and_fresh_account_is_not() {
    let account = record([strong(0, fresh())]);
    assert_eq!(planned(&account, 20 * 60), None);
    assert_eq!(planned(&account, NEXT_DAY), SCHEDULED);
    let off = RefreshPolicy { interval: None, ..POLICY };
    assert_eq!(account.plan(at(NEXT_DAY), off), None);
}

#[test]
fn account_that_is_unlinked_cooling_down_or_syncing_is_not_planned() {
    let account = record([strong(0, fresh())]);
    let unlinked = account.apply(&strong(NEXT_DAY - 1, EventBody::Unlinked));
    let gone = unlinked.apply(&verification(&unlinked, NEXT_DAY - 1, Reading::Gone));
    assert_eq!(planned(&gone, NEXT_DAY), None);
    let cooling = Account { cooldown_until: Some(at(NEXT_DAY + 1)), ..account.clone() };
    assert_eq!(planned(&cooling, NEXT_DAY), None);
    assert_eq!(planned(&cooling, NEXT_DAY + 1), SCHEDULED);
    let (started_at, until) = (at(NEXT_DAY - 1), at(NEXT_DAY + 1));
    let lease = Some(Lease { started_at, until, token: [1; 8] });
    let leased = Account { lease, ..account.clone() };
    assert_eq!(planned(&leased, NEXT_DAY), None);
    assert_eq!(planned(&leased, NEXT_DAY + 1), SCHEDULED);
    let fetching = account.apply(&strong(NEXT_DAY - 1, updated("PROCESSING", None)));
    assert_eq!(planned(&fetching, NEXT_DAY), None);
}

#[test]
fn planned_sync_takes_the_lease_and_its_own_lease_is_recognised() {
    let account = queued(&record([strong(0, fresh())]), NEXT_DAY);
    let lease = Lease { started_at: at(NEXT_DAY + 1), until: at(NEXT_DAY + 3), token: [1; 8] };
    let (begun, action) = account.begin_refresh(Some(at(NEXT_DAY)), lease, POLICY);
    let begun = begun.unwrap();
    assert_eq!((begun.lease, action.clone()), (Some(lease), SCHEDULED));
    assert_eq!(begun.begin_refresh(Some(at(NEXT_DAY)), lease, POLICY), (None, action));
    let other = Lease { token: [2; 8], ..lease };
    let (unchanged, action) = begun.begin_refresh(Some(at(NEXT_DAY)), other, POLICY);
    assert_eq!((unchanged, action), (Some(begun), None), "another delivery does nothing");
}

#[test]
fn planned_refresh_of_a_fresh_account_removes_the_mark_and_needs_no_action() {
    let account = queued(&record([strong(0, fresh())]), NEXT_DAY).apply(&strong(NEXT_DAY, fresh()));
    let lease = Lease { started_at: at(NEXT_DAY + 1), until: at(NEXT_DAY + 3), token: [1; 8] };
    let (next, action) = account.begin_refresh(Some(at(NEXT_DAY)), lease, POLICY);
    assert_eq!((next.unwrap().refresh_queued_at, action), (None, None));
    let unknown = Account::new(account.id.clone());
    assert_eq!(unknown.begin_refresh(Some(at(NEXT_DAY)), lease, POLICY), (None, None));
}

#[test]
fn account_is_queued_once_per_due_time_and_again_after_an_interval() {
    let account = record([strong(0, fresh())]);
    let queued = queued(&account, NEXT_DAY);
    assert_eq!(planned(&queued, NEXT_DAY + 60), None);
    assert_eq!(planned(&queued, NEXT_DAY + 23 * 60), None);
    assert_eq!(planned(&queued, NEXT_DAY + 24 * 60 - 20), SCHEDULED, "the message was lost");
    let synced = queued.apply(&attempt(NEXT_DAY + 5, success()));
    assert_eq!(
        planned(&synced, 2 * NEXT_DAY),
        SCHEDULED,
        "the account is queued again for the next due time"
    );
}

#[test]
fn end_of_a_sync_clears_the_queued_mark() {
    let account = queued(&record([strong(0, fresh())]), NEXT_DAY);
    let lease = Lease { started_at: at(NEXT_DAY + 1), until: at(NEXT_DAY + 3), token: [1; 8] };
    let begun = account.begin_sync(lease, POLICY.cooldown).unwrap();
    assert_eq!(planned(&begun, NEXT_DAY + 60), None, "a crashed sync is not paid for once an hour");
    assert_eq!(planned(&begun, NEXT_DAY + 24 * 60), SCHEDULED);
    let Fact::Attempt(attempt) = attempt(NEXT_DAY + 1, rate_limited()) else { unreachable!() };
    let ended = begun.end_sync(lease, &attempt).unwrap();
    assert_eq!(planned(&ended, NEXT_DAY + 60), SCHEDULED, "Mono started nothing");
}

#[test]
fn weak_failure_is_planned_with_reason_weak_evidence() {
    let account = record([strong(0, fresh()), weak(10, EventBody::SyncFailed)]);
    assert_eq!(planned(&account, 11), Some(RefreshAction::Sync(CallReason::WeakEvidence)));
    let settled = account.apply(&attempt(12, failure()));
    assert_eq!(planned(&settled, 20), None, "one sync settles the doubt, even if it fails");
}

#[test]
fn verification_is_planned_without_a_queued_mark() {
    let account = proven(record([strong(0, fresh()), weak(10, EventBody::Unlinked)]));
    let Some(action @ RefreshAction::Verify { ending: Some(ending) }) = planned(&account, 11)
    else {
        panic!("no verification was planned")
    };
    assert_eq!((ending.at, action.is_marked()), (at(10), false));
    let gone = account.apply(&verification(&account, 12, Reading::Gone));
    assert_eq!(planned(&gone, 6 * 24 * 60), None);
}

#[test]
fn job_without_a_reported_end_is_polled_by_two_hourly_plans() {
    let poll = Some(RefreshAction::Job { id: "j".to_owned() });
    let account = record([strong(0, fresh()), attempt(10, processing("j"))]);
    assert_eq!(planned(&account, 15), None, "the webhook may still arrive");
    assert_eq!(planned(&account, 16), poll);
    assert_eq!((planned(&account, 135), planned(&account, 136)), (poll.clone(), None));
    let reported = account.apply(&strong(12, updated("AVAILABLE", Some("SUCCESSFUL"))));
    assert_eq!(planned(&reported, 16), None);
    let job_finished = account.apply(&strong(12, job("j", "finished")));
    assert_eq!(planned(&job_finished, 16), poll, "the update that should follow was lost");
    let failed = account.apply(&strong(12, job("j", "failed")));
    assert_eq!(planned(&failed, 17), None, "the failure was reported");
    let without_id =
        record([strong(0, fresh()), attempt(10, SyncOutcome::Processing { job_id: None })]);
    assert_eq!(planned(&without_id, 16), None);
}

#[test]
fn job_that_never_ends_does_not_block_the_next_refresh() {
    let account = record([strong(0, fresh()), attempt(10, processing("j"))]);
    let (planned_at, now) = (at(NEXT_DAY + 60), at(NEXT_DAY + 61));
    assert_eq!(account.plan(planned_at, POLICY), SCHEDULED);
    assert_eq!(account.remaining_action(Some(planned_at), now, POLICY), SCHEDULED);
}

#[test]
fn earlier_job_is_not_polled_after_a_late_report_of_its_end() {
    let failed = updated("AVAILABLE", Some("FAILED"));
    let account = record([strong(0, fresh()), attempt(10, processing("j2")), strong(12, failed)]);
    let late = account.apply(&weak(30, job("j1", "finished")));
    assert_eq!(planned(&late, 40), None, "the end of an earlier job does not count");
    let unanswered =
        record([strong(0, fresh()), attempt(10, processing("j1")), attempt(1_400, timeout())]);
    let late = unanswered.apply(&weak(1_410, job("j1", "finished")));
    assert_eq!(
        planned(&late, 1_420),
        None,
        "an earlier job is not polled while the newest sync has no answer"
    );
    let open = record([strong(0, fresh()), attempt(10, processing("j1"))]);
    let ended = open.apply(&weak(700, job("j1", "finished")));
    assert_eq!(ended.followed_since(), Some(at(10)), "the end counts from the start of the sync");
}

#[test]
fn job_without_a_reported_end_is_over_after_half_an_hour() {
    let account = record([strong(0, fresh()), attempt(10, processing("j"))]);
    assert_eq!(account.status_since(at(40)).status, Status::Syncing);
    assert_eq!(account.status_since(at(41)).status, Status::Healthy);
}

#[test]
fn end_of_a_job_has_the_effect_of_a_sync_answer() {
    let account = record([strong(0, fresh()), attempt(10, processing("j"))]);
    let job_id = || Some("j".to_owned());
    let ended = |outcome| account.apply(&Fact::Answer(Answer { at: at(20), outcome }));
    let data = SyncData::Transactions;
    let success =
        SyncOutcome::Successful { has_new_data: true, data, balance: None, job_id: job_id() };
    let synced = ended(success);
    assert_eq!(synced.status_since(at(21)), StatusSince { status: Status::Healthy, at: at(20) });
    assert_eq!(synced.import_due().unwrap().at, at(20));
    let failed = ended(SyncOutcome::Failed { error: mono_error(), job_id: job_id() });
    assert_eq!(failed.status_since(at(21)).status, Status::Failed);
    let required = ended(SyncOutcome::ReauthorisationRequired { job_id: job_id() });
    assert_eq!(required.status_since(at(21)).status, Status::ReauthorisationRequired);
    for account in [synced, failed, required] {
        assert_eq!(
            account.registers.attempt.unwrap().order.at,
            at(10),
            "the answer does not count as an attempt"
        );
        assert_eq!(account.registers.last_billable_attempt.unwrap().order.at, at(10));
    }
}

#[test]
fn planned_refresh_is_dropped_after_an_attempt() {
    let account = record([strong(0, fresh())]);
    let (planned_at, now) = (at(NEXT_DAY), at(NEXT_DAY + 10));
    let still_planned = |account: &Account| account.remaining_action(Some(planned_at), now, POLICY);
    assert_eq!(still_planned(&account), SCHEDULED);
    assert_eq!(
        still_planned(&account.apply(&strong(NEXT_DAY + 1, fresh()))),
        None,
        "the account is fresh"
    );
    let limited = account.apply(&attempt(NEXT_DAY + 1, rate_limited()));
    assert_eq!(still_planned(&limited), None, "an attempt counts even if Mono started nothing");
    assert_eq!(
        planned(&limited, NEXT_DAY + 60),
        SCHEDULED,
        "the next plan queues the account again"
    );
    let (started_at, until) = (at(NEXT_DAY + 1), at(NEXT_DAY + 2));
    let crashed = Account { lease: Some(Lease { started_at, until, token: [1; 8] }), ..account };
    assert_eq!(
        still_planned(&crashed),
        None,
        "a crashed delivery counts even if its lease has expired"
    );
    assert_eq!(planned(&crashed, NEXT_DAY + 60), SCHEDULED);
}

#[test]
fn deferred_import_is_planned_at_its_time() {
    let account = record([strong(0, fresh())]);
    let pull = account.import_due().unwrap();
    let lease = ImportLease { holder: [1; 8], pull, until: at(9) };
    let begun = account.begin_import(lease, None, at(1)).unwrap();
    let deferred = begun
        .end_import(
            [1; 8],
            &ImportEnd::Deferred { until: at(60), part: None },
            RowCounts::default(),
            None,
        )
        .unwrap();
    assert_eq!((planned(&deferred, 59), deferred.import), (None, None));
    assert_eq!(planned(&deferred, 60), Some(RefreshAction::Import(pull)));
    assert_eq!(
        deferred.remaining_action(Some(at(60)), at(61), POLICY),
        Some(RefreshAction::Import(pull))
    );
    let again = deferred.begin_import(lease, None, at(61)).unwrap();
    assert_eq!(planned(&again, 61), None);
}

#[test]
fn second_pull_of_an_imported_job_makes_no_import_due() {
    let update_of_job = |minute, id: &str| {
        let update = Update {
            data_status: Some(DataStatus::from_word("AVAILABLE")),
            sync_status: Some(SyncStatus::Successful),
            has_new_data: Some(true),
            job_id: Some(id.to_owned()),
            ..Update::default()
        };
        strong(minute, EventBody::Updated(Box::new(update)))
    };
    let account = record([update_of_job(0, "j")]);
    let pull = account.import_due().unwrap();
    let notes = ImportNotes { job: account.job_of_pull(pull), ..ImportNotes::default() };
    let state = ImportState { notes, ..ImportState::default() };
    let imported = account.apply(&Fact::Import(Import { pull, state }));
    assert_eq!(
        imported.apply(&update_of_job(1, "j")).import_due(),
        None,
        "the same job was reported twice"
    );
    assert!(imported.apply(&update_of_job(1, "other")).import_due().is_some());
}

fn candidates() -> Vec<Candidate<&'static str>> {
    let candidate = |name, account: Account, action: RefreshAction| Candidate {
        priority: account.priority(&action),
        action,
        account: name,
    };
    let sync = || RefreshAction::Sync(CallReason::Scheduled);
    let synced = |minute| proven(record([strong(minute, fresh())]));
    let read = |minute, read_at| Account { read_at: Some(at(read_at)), ..synced(minute) };
    let pull = synced(0).import_due().unwrap();
    let reauthorised = record([strong(5, fresh()), strong(6, EventBody::ReauthorisationRequired)]);
    let reauthorised = proven(reauthorised.apply(&strong(7, EventBody::Reauthorized)));
    vec![
        candidate("fresher", synced(2), sync()),
        candidate("oldest", synced(1), sync()),
        candidate("read", read(3, 10), sync()),
        candidate("read last", read(4, 11), sync()),
        candidate("reauthorised", reauthorised, sync()),
        candidate("import", synced(0), RefreshAction::Import(pull)),
        candidate("link", synced(0), RefreshAction::Verify { ending: Some(pull) }),
        candidate("job", synced(9), RefreshAction::Job { id: "j".to_owned() }),
    ]
}

/// The names of the selected candidates, in order, and whether the budget left any out.
fn chosen(
    candidates: impl IntoIterator<Item = Candidate<&'static str>>,
    limit: usize,
    budget: Option<u64>,
) -> (Vec<&'static str>, bool) {
    let mut shortlist = Shortlist::new(limit);
    shortlist.extend(candidates);
    let left = Left { all: budget.map(Naira), verifications: None };
    let choice = shortlist.choose(left, &Prices::default());
    (choice.chosen.iter().map(|candidate| candidate.account).collect(), choice.is_short)
}

#[test]
fn priority_is_import_link_reauthorised_most_recently_read_then_oldest() {
    let expected =
        ["import", "link", "reauthorised", "read last", "read", "oldest", "fresher", "job"];
    assert_eq!(chosen(candidates(), 8, None), (expected.to_vec(), false));
    for limit in 0..8 {
        let (names, left_out) = chosen(candidates().into_iter().cycle().take(8 * 5), limit, None);
        assert!(!left_out && names.len() == limit, "{names:?}");
        let each_five_times = expected.iter().flat_map(|name| [*name; 5]);
        assert!(
            names.into_iter().eq(each_five_times.take(limit)),
            "the order of the candidates does not matter"
        );
    }
}

#[test]
fn unaffordable_action_is_left_out_and_free_action_is_kept() {
    let named = |budget| {
        let (names, left_out) = chosen(candidates(), 8, Some(budget));
        assert!(left_out);
        names
    };
    assert_eq!(named(0), ["job"]);
    assert_eq!(named(250), ["import", "link", "job"]);
    assert_eq!(
        named(500),
        ["import", "link", "reauthorised", "job"],
        "the price of a sync includes its listing"
    );
}

#[test]
fn partial_deferred_import_keeps_its_rows_and_stays_due() {
    let account = record([strong(10, fresh())]);
    let pull = account.import_due().unwrap();
    let lease = ImportLease { holder: [1; 8], pull, until: at(20) };
    let begun = account.begin_import(lease, None, at(11)).unwrap();
    let before = OrderKey { at: pull.at - Duration::from_millis(1), ..pull };
    let state = ImportState { through: Some(at(9)), ..ImportState::default() };
    let part = Some(Import { pull: before, state });
    let deferred = begun
        .end_import(
            [1; 8],
            &ImportEnd::Deferred { until: at(60), part },
            RowCounts::default(),
            None,
        )
        .unwrap();
    assert_eq!(deferred.view(at(12), POLICY).transactions_through, Some(at(9)));
    assert_eq!(planned(&deferred, 60), Some(RefreshAction::Import(pull)));
    let off = RefreshPolicy { interval: None, ..POLICY };
    assert_eq!(
        deferred.plan(at(60), off),
        Some(RefreshAction::Import(pull)),
        "a deferred import is planned even without an automatic refresh"
    );
}

#[test]
fn older_pull_soon_after_an_import_counts_as_a_pull_of_the_imported_job() {
    let account = record([strong(0, fresh())]);
    let pull = account.import_due().unwrap();
    let job = Some(ShortHash::of("j"));
    let state =
        ImportState { notes: ImportNotes { job, ..Default::default() }, ..Default::default() };
    let imported = account.apply(&Fact::Import(Import { pull, state }));
    let nothing_new = Update {
        data_status: Some(DataStatus::from_word("AVAILABLE")),
        sync_status: Some(SyncStatus::Successful),
        ..Update::default()
    };
    let newest = strong(DAY_MINUTES, EventBody::Updated(Box::new(nothing_new)));
    let due = |minute| imported.apply(&strong(minute, fresh())).apply(&newest).import_due();
    assert_eq!(due(5), None);
    assert!(due(45).is_some(), "the pull is too late for the same job");
}

#[test]
fn first_sync_is_chosen_without_budget_for_its_listing() {
    let mut syncs = candidates();
    syncs.retain(|candidate| matches!(candidate.action, RefreshAction::Sync(_)));
    assert_eq!(chosen(syncs, 8, Some(249)), (vec!["reauthorised"], true));
}

#[test]
fn at_most_200_accounts_that_only_webhooks_have_named_are_chosen() {
    let action = RefreshAction::Sync(CallReason::Scheduled);
    let candidate = |account: Account| Candidate {
        priority: account.priority(&action),
        action: action.clone(),
        account: account.registers.is_proven,
    };
    let invented = record([strong(0, fresh())]);
    let known = proven(record([strong(9, fresh())]));
    let mut shortlist = Shortlist::new(1_000);
    shortlist.extend((0..250).map(|_| candidate(invented.clone())));
    shortlist.extend((0..3).map(|_| candidate(known.clone())));
    let Choice { chosen, is_short, unproven_left_out } =
        shortlist.choose(Left::default(), &Prices::default());
    assert_eq!((chosen.len(), is_short, unproven_left_out), (203, false, 50));
    assert!(chosen[..3].iter().all(|candidate| candidate.account), "known accounts come first");
}

#[test]
fn verifications_beyond_their_share_leave_the_budget_to_syncs() {
    let account = proven(record([strong(1, fresh())]));
    let candidate = |action: RefreshAction| Candidate {
        priority: account.priority(&action),
        account: matches!(action, RefreshAction::Sync(_)),
        action,
    };
    let mut shortlist = Shortlist::new(1_000);
    shortlist.extend((0..50).map(|_| candidate(RefreshAction::Verify { ending: None })));
    shortlist.extend((0..50).map(|_| candidate(RefreshAction::Sync(CallReason::Scheduled))));
    let left = Left { all: Some(Naira(1_000)), verifications: Some(Naira(200)) };
    let Choice { chosen, is_short, .. } = shortlist.choose(left, &Prices::default());
    let syncs = chosen.iter().filter(|candidate| candidate.account).count();
    assert_eq!((chosen.len() - syncs, syncs, is_short), (2, 3, true), "250 naira a sync");
}

#[test]
fn verification_instead_of_a_planned_sync_removes_the_mark() {
    let account = proven(queued(&record([strong(0, fresh())]), NEXT_DAY));
    let doubted = account.apply(&strong(NEXT_DAY, EventBody::Unlinked));
    let lease = Lease { started_at: at(NEXT_DAY + 1), until: at(NEXT_DAY + 3), token: [1; 8] };
    let (next, action) = doubted.begin_refresh(Some(at(NEXT_DAY)), lease, POLICY);
    assert!(matches!(action, Some(RefreshAction::Verify { .. })));
    assert_eq!(next.unwrap().refresh_queued_at, None);
}
