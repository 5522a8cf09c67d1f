use sandbox::account::DataStatus;
use sandbox::{Dialect, Kind, Link, Refresh, Refusal, Settings};
use serde_json::Value;

use crate::receiver::{Receiver, fast};

/// The webhooks after the two webhooks of the link.
async fn after_refresh(dialect: Dialect, outcome: Refresh) -> (Vec<Kind>, Vec<Value>) {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(Settings { dialect, ..fast() }).await;
    let account_id = sandbox.link(Link::default());
    sandbox.refresh(&account_id, outcome).expect("a link");
    let log = sandbox.settled().await;
    let kinds = log[2..].iter().filter_map(|delivery| delivery.kind);
    (kinds.collect(), receiver.bodies().split_off(2))
}

async fn kinds_of_link(dialect: Dialect) -> (Vec<Option<Kind>>, Vec<Value>) {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(Settings { dialect, ..fast() }).await;
    sandbox.link(Link::default());
    let log = sandbox.settled().await;
    let kinds = log.iter().map(|delivery| delivery.kind);
    (kinds.collect(), receiver.bodies())
}

#[tokio::test]
async fn link_sends_connected_and_then_updated_in_both_dialects() {
    for dialect in [Dialect::V1, Dialect::V2] {
        let (kinds, _) = kinds_of_link(dialect).await;
        let expected = [Kind::AccountConnected, Kind::AccountUpdated].map(Some);
        assert_eq!(kinds, expected);
    }
}

#[tokio::test]
async fn silent_link_sends_no_webhook_and_has_all_data() {
    let sandbox = Receiver::answering_200().await.sandbox(fast()).await;
    let account_id = sandbox.link(Link { silent: true, ..Link::default() });
    assert!(sandbox.settled().await.is_empty());
    let account = sandbox.account(&account_id).expect("an account");
    assert_eq!(account.data_status, DataStatus::Available);
}

#[tokio::test]
async fn v2_link_is_first_processing_and_then_available() {
    let (_, bodies) = kinds_of_link(Dialect::V2).await;
    let statuses = bodies.iter().map(|body| &body["data"]["meta"]["data_status"]);
    assert_eq!(statuses.collect::<Vec<_>>(), ["PROCESSING", "AVAILABLE"]);
}

#[tokio::test]
async fn v2_refresh_sends_its_job_event_before_the_account_event() {
    let outcomes = [
        (Refresh::NewData, Kind::JobFinished, Kind::AccountUpdatedBySync),
        (Refresh::NothingNew, Kind::JobFinished, Kind::AccountUpdatedNothingNew),
        (
            Refresh::ReauthorisationRequired,
            Kind::JobFailed,
            Kind::AccountUpdatedReauthorisationRequired,
        ),
        (Refresh::Failed, Kind::JobFailed, Kind::AccountUpdatedSyncFailed),
        (Refresh::BankUnavailable, Kind::JobFailed, Kind::AccountUpdatedUnavailable),
        (Refresh::Partial, Kind::JobFinished, Kind::AccountUpdatedPartial),
    ];
    for (outcome, job, updated) in outcomes {
        let (kinds, bodies) = after_refresh(Dialect::V2, outcome).await;
        assert_eq!(kinds, [job, updated]);
        assert_eq!(bodies[0]["data"]["id"], bodies[1]["data"]["meta"]["job_id"]);
    }
}

#[tokio::test]
async fn v1_refresh_sends_the_old_events() {
    let outcomes = [
        (Refresh::NewData, Kind::AccountUpdatedBySync),
        (Refresh::NothingNew, Kind::AccountUpdatedBySync),
        (Refresh::ReauthorisationRequired, Kind::ReauthorisationRequired),
        (Refresh::Failed, Kind::SyncFailed),
        (Refresh::BankUnavailable, Kind::AccountUpdatedFailed),
        (Refresh::Partial, Kind::SyncFailed),
    ];
    for (outcome, expected) in outcomes {
        let (kinds, _) = after_refresh(Dialect::V1, outcome).await;
        assert_eq!(kinds, [expected]);
    }
}

#[tokio::test]
async fn only_new_data_changes_the_balance() {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(fast()).await;
    let link = Link { balance: Some(1_000), ..Link::default() };
    let account_id = sandbox.link(link);
    let balance = || sandbox.account(&account_id).expect("an account").balance;
    sandbox.refresh(&account_id, Refresh::NothingNew).expect("a link");
    sandbox.refresh(&account_id, Refresh::Failed).expect("a link");
    assert_eq!(balance(), 1_000);
    sandbox.refresh(&account_id, Refresh::NewData).expect("a link");
    sandbox.settled().await;
    let last = receiver.bodies().pop().expect("an update");
    assert_ne!(balance(), 1_000);
    assert_eq!(last["data"]["account"]["balance"], balance());
}

#[tokio::test]
async fn account_is_unavailable_after_an_outage_until_the_next_fetch() {
    let sandbox = Receiver::answering_200().await.sandbox(fast()).await;
    let account_id = sandbox.link(Link::default());
    let status = || sandbox.account(&account_id).expect("an account").data_status;
    let mut seen = Vec::new();
    for outcome in [
        Refresh::BankUnavailable,
        Refresh::NewData,
        Refresh::NewData,
        Refresh::ReauthorisationRequired,
    ] {
        sandbox.refresh(&account_id, outcome).expect("a link");
        seen.push(status());
    }
    let expected = [
        DataStatus::Unavailable,
        DataStatus::Partial,
        DataStatus::Available,
        DataStatus::Available,
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn reauthorisation_event_precedes_its_data() {
    for dialect in [Dialect::V1, Dialect::V2] {
        let receiver = Receiver::answering_200().await;
        let sandbox = receiver.sandbox(Settings { dialect, ..fast() }).await;
        let account_id = sandbox.link(Link::default());
        sandbox.reauthorise(&account_id).expect("a link");
        let log = sandbox.settled().await;
        let kinds = log[2..].iter().map(|delivery| delivery.kind);
        let expected = [Kind::AccountReauthorized, Kind::AccountUpdated].map(Some);
        assert_eq!(kinds.collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn timestamps_only_increase() {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(fast()).await;
    let account_id = sandbox.link(Link::default());
    for _ in 0..10 {
        sandbox.refresh(&account_id, Refresh::NewData).expect("a link");
    }
    sandbox.settled().await;
    let bodies = receiver.bodies();
    let times = bodies.iter().filter_map(|body| body["timestamp"].as_str());
    assert!(times.is_sorted_by(|earlier, later| earlier < later));
}

#[tokio::test]
async fn unlinked_account_is_reported_once_and_then_refused() {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(fast()).await;
    let account_id = sandbox.link(Link::default());
    sandbox.unlink(&account_id).expect("a link");
    let refusal = Err(Refusal::Unlinked(account_id.clone()));
    assert_eq!(sandbox.unlink(&account_id), refusal);
    assert_eq!(sandbox.refresh(&account_id, Refresh::NewData), refusal);
    assert_eq!(sandbox.reauthorise(&account_id), refusal);
    let log = sandbox.settled().await;
    assert_eq!(log[2].kind, Some(Kind::AccountUnlinked));
    assert_eq!(log.len(), 3);
}

#[tokio::test]
async fn unknown_account_is_refused() {
    let sandbox = Receiver::answering_200().await.sandbox(fast()).await;
    let refusal = Refusal::UnknownAccount("nobody".to_owned());
    assert_eq!(sandbox.unlink("nobody"), Err(refusal));
}
