use super::*;
use Status::{
    BankUnavailable, Failed, Healthy, Partial, Pending, ReauthorisationPending,
    ReauthorisationRequired, Syncing, Unlinked,
};

/// A time long after all facts, when no job runs.
fn later() -> Timestamp {
    at(100_000)
}

#[track_caller]
fn assert_status(facts: impl IntoIterator<Item = Fact>, status: Status, since: u32) {
    assert_eq!(record(facts).status_since(later()), StatusSince { status, at: at(since) });
}

#[test]
fn unlinking_changes_nothing_until_mono_confirms_it() {
    let facts = [strong(1, connected()), strong(2, fresh()), strong(5, EventBody::Unlinked)];
    assert_status(facts.clone(), Healthy, 2);
    assert_status(facts.into_iter().chain([strong(6, fresh())]), Healthy, 6);
    assert_status([strong(5, EventBody::Unlinked)], Pending, 5);
}

#[test]
fn update_after_a_confirmed_unlinking_does_not_relink_the_account() {
    let account = record([strong(1, fresh()), strong(5, EventBody::Unlinked)]);
    let gone = account.apply(&verification(&account, 6, Reading::Gone));
    let updated = gone.apply(&strong(7, fresh()));
    assert_eq!(updated.status_since(later()), StatusSince { status: Unlinked, at: at(6) });
}

#[test]
fn link_after_an_unlinking_is_pending_since_the_link() {
    let facts = [strong(1, connected()), strong(2, fresh()), strong(5, EventBody::Unlinked)];
    let relinked = facts.into_iter().chain([strong(8, connected())]);
    assert_status(relinked, Pending, 8);
}

#[test]
fn fact_older_than_a_relink_does_not_count() {
    let former = [
        EventBody::ReauthorisationRequired,
        EventBody::Reauthorized,
        updated("UNAVAILABLE", None),
        updated("FAILED", None),
        updated("AVAILABLE", Some("FAILED")),
        job("j", "failed"),
    ];
    for body in former {
        let facts = [strong(3, body), strong(5, EventBody::Unlinked), strong(8, connected())];
        assert_status(facts.clone(), Pending, 8);
        assert_status(facts.into_iter().chain([strong(9, fresh())]), Healthy, 9);
    }
}

#[test]
fn link_without_an_unlinking_keeps_earlier_facts() {
    assert_status(
        [strong(3, EventBody::ReauthorisationRequired), strong(8, connected())],
        ReauthorisationRequired,
        3,
    );
}

#[test]
fn requirement_newer_than_pull_and_reauthorisation_is_reauthorisation_required() {
    let requirements = [
        EventBody::ReauthorisationRequired,
        updated("AVAILABLE", Some("REAUTHORISATION_REQUIRED")),
        EventBody::Job(Job { id: None, state: JobState::ReauthorisationRequired }),
    ];
    for requirement in requirements {
        assert_status(
            [strong(1, fresh()), strong(2, EventBody::Reauthorized), strong(5, requirement)],
            ReauthorisationRequired,
            5,
        );
    }
    let by_sync = SyncOutcome::ReauthorisationRequired { job_id: None };
    assert_status([strong(1, fresh()), attempt(5, by_sync)], ReauthorisationRequired, 6);
}

#[test]
fn late_requirement_does_not_override_a_newer_pull_or_reauthorisation() {
    assert_status([strong(5, fresh()), strong(3, EventBody::ReauthorisationRequired)], Healthy, 5);
    assert_status(
        [strong(5, EventBody::Reauthorized), strong(3, EventBody::ReauthorisationRequired)],
        ReauthorisationPending,
        5,
    );
}

#[test]
fn requirement_wins_in_the_same_millisecond() {
    let same_time = [strong(5, fresh()), strong(5, EventBody::Reauthorized), attempt(4, success())];
    let required = same_time.into_iter().chain([strong(5, EventBody::ReauthorisationRequired)]);
    assert_status(required, ReauthorisationRequired, 5);
}

#[test]
fn reauthorisation_without_a_pull_is_pending() {
    assert_status(
        [strong(1, fresh()), strong(5, EventBody::Reauthorized)],
        ReauthorisationPending,
        5,
    );
    assert_status([strong(5, EventBody::Reauthorized)], ReauthorisationPending, 5);
}

#[test]
fn confirmed_pull_ends_a_reauthorisation() {
    let facts = [
        strong(1, EventBody::ReauthorisationRequired),
        strong(5, EventBody::Reauthorized),
        strong(7, fresh()),
    ];
    assert_status(facts, Healthy, 7);
}

#[test]
fn running_job_is_syncing_for_at_most_thirty_minutes() {
    let account = record([strong(1, fresh()), strong(10, job("j", "processing"))]);
    let running = StatusSince { status: Syncing, at: at(10) };
    assert_eq!(account.status_since(at(10)), running);
    assert_eq!(account.status_since(at(40) - Duration::from_millis(1)), running);
    assert_eq!(account.status_since(at(40)).status, Healthy);
}

#[test]
fn redelivery_of_a_weak_running_job_restarts_its_lifetime() {
    let account = record([weak(10, job("j", "processing")), weak(35, job("j", "processing"))]);
    assert_eq!(account.status_since(at(60)), StatusSince { status: Syncing, at: at(35) });
}

#[test]
fn pull_newer_than_the_job_ends_the_job() {
    let account = record([strong(10, job("j", "processing")), strong(11, fresh())]);
    assert_eq!(account.status_since(at(12)).status, Healthy);
}

#[test]
fn older_pull_that_names_the_job_ends_the_job() {
    let pull = Update {
        data_status: Some(DataStatus::from_word("AVAILABLE")),
        job_id: Some("j".to_owned()),
        ..Update::default()
    };
    let account =
        record([strong(10, EventBody::Updated(Box::new(pull))), weak(15, job("j", "processing"))]);
    assert_eq!(account.status_since(at(16)).status, Healthy);
}

#[test]
fn older_pull_that_does_not_name_the_job_does_not_end_the_job() {
    let account = record([strong(10, fresh()), weak(15, job("j", "processing"))]);
    assert_eq!(account.status_since(at(16)).status, Syncing);
}

#[test]
fn processing_is_shown_while_the_job_runs_and_the_settled_value_is_kept() {
    let account =
        record([strong(1, updated("PARTIAL", None)), strong(5, updated("PROCESSING", None))]);
    assert_eq!(account.status_since(at(6)), StatusSince { status: Syncing, at: at(5) });
    assert_eq!(account.view(at(6), POLICY).data_status, Some("PROCESSING"));
    assert_eq!(account.status_since(later()), StatusSince { status: Partial, at: at(1) });
    assert_eq!(account.view(later(), POLICY).data_status, Some("PARTIAL"));
}

#[test]
fn link_with_a_running_first_fetch_is_syncing_then_pending() {
    let account = record([strong(1, EventBody::Connected { customer_id: None, processing: true })]);
    assert_eq!(account.status_since(at(2)), StatusSince { status: Syncing, at: at(1) });
    assert_eq!(account.status_since(later()), StatusSince { status: Pending, at: at(1) });
}

#[test]
fn held_lease_is_syncing_since_its_start() {
    let mut account = record([strong(1, fresh())]);
    account.lease = Some(Lease { started_at: at(20), until: at(22), token: [1; 8] });
    assert_eq!(account.status_since(at(21)), StatusSince { status: Syncing, at: at(20) });
    assert_eq!(account.status_since(at(22)).status, Healthy, "an expired lease does not count");
}

#[test]
fn syncing_hides_neither_reauthorisation_nor_unlinking() {
    let running = strong(10, job("j", "processing"));
    for (body, status) in [
        (EventBody::ReauthorisationRequired, ReauthorisationRequired),
        (EventBody::Reauthorized, ReauthorisationPending),
    ] {
        let account = record([strong(9, body), running.clone()]);
        assert_eq!(account.status_since(at(11)).status, status);
    }
    let unlinked = record([strong(9, EventBody::Unlinked), running]);
    let gone = unlinked.apply(&verification(&unlinked, 10, Reading::Gone));
    assert_eq!(gone.status_since(at(11)).status, Unlinked);
}

#[test]
fn unavailable_newer_than_the_last_pull_is_bank_unavailable() {
    assert_status(
        [strong(1, fresh()), strong(5, updated("UNAVAILABLE", None))],
        BankUnavailable,
        5,
    );
    assert_status([strong(5, fresh()), strong(1, updated("UNAVAILABLE", None))], Healthy, 5);
}

#[test]
fn failure_newer_than_the_last_pull_is_failed() {
    let failures = [
        EventBody::SyncFailed,
        updated("AVAILABLE", Some("FAILED")),
        updated("AVAILABLE", Some("SOMETHING_NEW")),
        updated("FAILED", None),
        updated("PROCESSING_FAILED", None),
        job("j", "failed"),
    ];
    for failure in failures {
        assert_status([strong(1, fresh()), strong(5, failure.clone())], Failed, 5);
        assert_status([strong(9, fresh()), strong(5, failure)], Healthy, 9);
    }
    assert_status([strong(1, fresh()), attempt(5, failure())], Failed, 6);
}

#[test]
fn failed_status_starts_at_the_newest_failure() {
    let facts = [
        strong(1, fresh()),
        strong(5, updated("FAILED", Some("FAILED"))),
        strong(7, job("j", "failed")),
    ];
    assert_status(facts, Failed, 7);
}

#[test]
fn available_with_a_failed_sync_is_not_a_confirmed_pull() {
    for sync_status in ["FAILED", "REAUTHORISATION_REQUIRED", "PROCESSING", "whatever"] {
        let account = record([strong(5, updated("AVAILABLE", Some(sync_status)))]);
        assert_eq!(account.confirmed(), None, "{sync_status}");
        assert_ne!(account.status_since(later()).status, Healthy);
    }
}

#[test]
fn confirmed_pull_needs_available_or_partial_and_a_successful_or_absent_sync_status() {
    for data_status in
        ["AVAILABLE", "available", "PARTIAL", "FAILED", "UNAVAILABLE", "PROCESSING", "X"]
    {
        for sync_status in
            [None, Some("SUCCESSFUL"), Some("SUCCESS"), Some("successful"), Some("FAILED")]
        {
            let account = record([strong(1, updated(data_status, sync_status))]);
            let confirmed = account.confirmed().is_some();
            let has_data = matches!(data_status, "AVAILABLE" | "available" | "PARTIAL");
            assert_eq!(confirmed, has_data && sync_status != Some("FAILED"));
        }
    }
}

#[test]
fn pull_without_a_sync_status_is_not_a_failure() {
    assert_status([strong(1, fresh()), strong(5, updated("AVAILABLE", None))], Healthy, 5);
}

#[test]
fn account_without_a_sync_is_pending_since_first_seen() {
    assert_status([strong(4, connected()), strong(7, balance_of(1))], Pending, 4);
    assert_status([strong(7, balance_of(1)), strong(4, connected())], Pending, 4);
}

#[test]
fn partial_data_is_partial() {
    assert_status([strong(5, updated("PARTIAL", None))], Partial, 5);
}

#[test]
fn successful_sync_after_failed_or_unavailable_data_is_partial() {
    for before in ["FAILED", "UNAVAILABLE"] {
        assert_status([strong(1, updated(before, None)), attempt(5, success())], Partial, 6);
    }
}

#[test]
fn account_with_fresh_data_is_healthy_since_the_last_confirmed_pull() {
    assert_status([strong(1, connected()), strong(5, fresh())], Healthy, 5);
    assert_status([strong(1, fresh()), attempt(5, success())], Healthy, 6);
}

#[test]
fn attempt_without_information_does_not_change_the_status() {
    for outcome in [
        timeout(),
        SyncOutcome::NoResult(CallError::Unavailable),
        SyncOutcome::NoResult(CallError::Unusable(mono_error())),
        SyncOutcome::NoResult(CallError::Refused(mono_error())),
        rate_limited(),
        SyncOutcome::NoResult(CallError::NotConnected),
    ] {
        assert_status([strong(1, fresh()), attempt(5, outcome)], Healthy, 1);
    }
}

#[test]
fn reauthorisation_required_at_is_shown_until_a_pull_or_reauthorisation() {
    let required = record([strong(1, fresh()), strong(5, EventBody::ReauthorisationRequired)]);
    assert_eq!(required.reauthorisation_required_at(), Some(at(5)));
    for body in [fresh(), EventBody::Reauthorized] {
        assert_eq!(required.apply(&strong(6, body)).reauthorisation_required_at(), None);
    }
}

#[test]
fn link_event_after_its_data_keeps_the_status() {
    let link = || strong(12, EventBody::Connected { customer_id: None, processing: true });
    for data in [fresh(), updated("UNAVAILABLE", None), updated("FAILED", None)] {
        let expected = record([strong(11, data.clone())]).status_since(at(13));
        let linked = record([strong(11, data.clone()), link()]);
        assert_eq!(linked.status_since(at(13)), expected, "{data:?}");
        let unlinked = strong(5, EventBody::Unlinked);
        let relinked = record([strong(1, fresh()), unlinked, strong(11, data.clone()), link()]);
        assert_eq!(relinked.status_since(at(13)), expected, "{data:?}");
    }
}

#[test]
fn second_link_event_after_a_relink_keeps_earlier_facts() {
    let relinked = [
        strong(1, connected()),
        strong(2, EventBody::Unlinked),
        strong(3, connected()),
        strong(4, fresh()),
    ];
    let required =
        relinked.clone().into_iter().chain([strong(5, EventBody::ReauthorisationRequired)]);
    let again = strong(9, EventBody::Connected { customer_id: None, processing: true });
    assert_status(relinked.into_iter().chain([again.clone()]), Healthy, 4);
    assert_status(required.chain([again]), ReauthorisationRequired, 5);
}

#[test]
fn contradicted_weak_unlinking_keeps_earlier_facts() {
    let contradicted = |facts: Vec<Fact>| {
        let account = record(facts);
        let account = account.apply(&verification(&account, 160, there()));
        account.status_since(at(161))
    };
    let linked = || vec![strong(100, connected()), weak(101, EventBody::Unlinked)];
    let updated = contradicted([linked(), vec![strong(105, fresh())]].concat());
    assert_eq!(updated, StatusSince { status: Healthy, at: at(105) });
    let requirement = strong(100, EventBody::ReauthorisationRequired);
    let required = record([linked(), vec![requirement]].concat());
    let required = required.apply(&verification(&required, 160, there()));
    assert_eq!(required.status_since(at(161)).status, ReauthorisationRequired);
    assert!(required.attention().is_some());
}

#[test]
fn former_unlinking_counts_when_a_later_weak_unlinking_is_contradicted() {
    let facts = [
        strong(40, EventBody::ReauthorisationRequired),
        strong(50, EventBody::Unlinked),
        strong(60, connected()),
        weak(101, EventBody::Unlinked),
    ];
    let account = record(facts);
    let contradicted = account.apply(&verification(&account, 160, there()));
    assert_eq!(
        contradicted.status_since(at(161)).status,
        Pending,
        "the requirement belongs to the former link"
    );
}

#[test]
fn link_is_in_doubt_until_mono_answers() {
    let unlinked_account = record([strong(1, fresh()), strong(5, EventBody::Unlinked)]);
    assert_eq!(unlinked_account.status_since(later()), StatusSince { status: Healthy, at: at(1) });
    let gone = unlinked_account.apply(&verification(&unlinked_account, 9, Reading::Gone));
    assert_eq!(gone.link(), Link::Ended { at: at(9) });
    assert_eq!(gone.status_since(later()).status, Unlinked);
    let linked = unlinked_account.apply(&verification(&unlinked_account, 9, there()));
    assert_eq!(linked.link(), Link::Linked);
    assert_eq!(linked.status_since(later()).status, Healthy, "the unlinking never happened");
    let unknown = unlinked_account.apply(&verification(&unlinked_account, 9, Reading::Unknown));
    assert!(matches!(unknown.link(), Link::InDoubt { .. }) && !unknown.is_unlinked());
}

#[test]
fn sync_not_found_after_a_positive_link_check_ends_the_link() {
    let unlinked_account = record([strong(1, fresh()), weak(5, EventBody::Unlinked)]);
    let shown = unlinked_account.apply(&verification(&unlinked_account, 9, there()));
    let not_found = SyncOutcome::NotFound { error: mono_error() };
    let gone = shown.apply(&attempt(20, not_found));
    assert_eq!(gone.link(), Link::Ended { at: at(21) });
    let retried = gone.apply(&weak(30, EventBody::Unlinked));
    assert_eq!(retried.link(), Link::Ended { at: at(21) }, "a redelivery changes nothing");
    let relinked = retried.apply(&strong(40, connected()));
    assert_eq!((relinked.link(), relinked.status_since(later()).status), (Link::Linked, Pending));
}

#[test]
fn bad_request_for_a_sync_ends_a_link_that_mono_confirmed_after_an_unlinking() {
    let unlinked_account = record([strong(1, fresh()), strong(5, EventBody::Unlinked)]);
    let shown = unlinked_account.apply(&verification(&unlinked_account, 9, there()));
    let error = ProviderError { code: "HTTP_400".to_owned(), message: None };
    let refused = SyncOutcome::Failed { error, job_id: None };
    assert_eq!(shown.apply(&attempt(20, refused.clone())).status_since(later()).status, Unlinked);
    let never_unlinked = record([strong(1, fresh()), attempt(20, refused)]);
    assert_eq!(never_unlinked.status_since(later()).status, Failed);
}

#[test]
fn not_found_after_a_successful_sync_is_failed_and_not_unlinked() {
    let unlinked_account = record([strong(1, fresh()), weak(5, EventBody::Unlinked)]);
    let shown = unlinked_account.apply(&verification(&unlinked_account, 9, there()));
    let not_found = SyncOutcome::NotFound { error: mono_error() };
    let synced = shown.apply(&attempt(20, success())).apply(&attempt(500, not_found));
    assert_eq!(synced.status_since(later()).status, Failed);
    assert!(synced.next_refresh_at(POLICY).is_some());
}

#[test]
fn weak_link_after_an_unlinking_is_pending_and_in_doubt() {
    let account =
        record([strong(1, fresh()), strong(5, EventBody::Unlinked), weak(9, connected())]);
    assert_eq!(account.status_since(later()), StatusSince { status: Pending, at: at(9) });
    assert!(matches!(account.link(), Link::InDoubt { ended_at: None, .. }));
    let gone = account.apply(&verification(&account, 20, Reading::Gone));
    assert_eq!(gone.status_since(later()).status, Unlinked);
    let unknown = account.apply(&verification(&account, 20, Reading::Unknown));
    assert_eq!(unknown.status_since(later()).status, Pending, "Mono has not confirmed the end");
    let linked = account.apply(&verification(&account, 20, there()));
    assert_eq!(linked.link(), Link::Linked);
    let synced = account.apply(&strong(10, fresh()));
    assert_eq!(synced.link(), Link::Linked, "fresh data proves the link");
}

#[test]
fn weak_pull_after_a_requirement_does_not_resolve_the_requirement() {
    let pulled = |minutes, amount| {
        let EventBody::Updated(mut update) = fresh() else { unreachable!() };
        update.balance = sent(amount);
        weak(minutes, EventBody::Updated(update))
    };
    let facts =
        vec![pulled(0, 100), pulled(60, 50), strong(25 * 60, EventBody::ReauthorisationRequired)];
    let before = record(facts);
    let retried = before.apply(&pulled(40 * 60, 100));
    assert_eq!(retried.status_since(later()).status, ReauthorisationRequired);
    let view = retried.view(later(), POLICY);
    assert_eq!(view.balance, Some(MinorUnits(50)));
    let synced = (view.last_synced_at, view.balance_synced_at);
    assert_eq!(synced, (Some(at(60)), Some(at(60))));
    let settled = retried.apply(&attempt(41 * 60, success()));
    assert_eq!(
        settled.status_since(later()).status,
        Healthy,
        "a successful sync settles the doubt"
    );
    let reauthorised = strong(26 * 60, EventBody::Reauthorized);
    assert_eq!(
        retried.apply(&reauthorised).status_since(later()).status,
        Healthy,
        "the customer has re-authorised"
    );
}
