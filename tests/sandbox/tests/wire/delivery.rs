use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use sandbox::{
    Attempt, Delivery, Event, Kind, Link, Network, NetworkFault, Order, Outcome, Sandbox, Settings,
};
use tokio::net::TcpListener;

use crate::receiver::{Receiver, SECRET, fast};

/// A linked account whose first two webhooks have been delivered.
async fn linked(sandbox: &Sandbox) -> String {
    let account_id = sandbox.link(Link::default());
    sandbox.settled().await;
    account_id
}

fn event(sandbox: &Sandbox, kind: Kind, account_id: &str) -> Event {
    sandbox.event(kind, account_id).expect("a linked account")
}

fn updates(sandbox: &Sandbox, account_id: &str, count: usize) -> Vec<Event> {
    let update = |_| event(sandbox, Kind::AccountUpdated, account_id);
    (0..count).map(update).collect()
}

/// The ids of the received events, in the order of their arrival.
fn event_ids(receiver: &Receiver) -> Vec<String> {
    let bodies = receiver.bodies();
    let ids = bodies.iter().filter_map(|body| body["event_id"].as_str());
    ids.map(str::to_owned).collect()
}

fn ids_of(events: &[Event]) -> Vec<String> {
    let ids = events.iter().filter_map(Event::event_id);
    ids.map(str::to_owned).collect()
}

fn statuses(delivery: &Delivery) -> Vec<u16> {
    let status = |attempt: &Attempt| match attempt {
        Attempt::Status(status) => Some(*status),
        Attempt::Error(_) => None,
    };
    delivery.attempts.iter().filter_map(status).collect()
}

#[tokio::test]
async fn failed_delivery_is_retried_with_the_same_bytes_until_200() {
    let receiver = Receiver::answering([200, 200, 503, 503]).await;
    let sandbox = receiver.sandbox(fast()).await;
    let account_id = linked(&sandbox).await;
    let update = event(&sandbox, Kind::AccountUpdated, &account_id);

    sandbox.send(&update);

    let log = sandbox.settled().await;
    assert_eq!(statuses(&log[2]), [503, 503, 200]);
    assert_eq!(log[2].outcome, Outcome::Delivered);
    assert_eq!(log[2].event_id.as_deref(), update.event_id());
    assert_eq!(log[2].account_id, Some(account_id));
    let posts = receiver.posts();
    assert_eq!(posts.len(), 5);
    assert_eq!(posts[2].json(), *update.body());
    assert!(posts[2..].iter().all(|post| post.body == posts[2].body));
}

#[tokio::test]
async fn every_post_is_json_and_has_the_secret() {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(fast()).await;
    linked(&sandbox).await;
    for post in receiver.posts() {
        assert_eq!(post.header("content-type"), Some("application/json"));
        assert_eq!(post.header("mono-webhook-secret"), Some(SECRET));
    }
}

#[tokio::test]
async fn every_status_except_200_is_retried() {
    let answers = [200, 200, 201, 202, 204, 302, 400, 401, 404, 500];
    let receiver = Receiver::answering(answers).await;
    let sandbox = receiver.sandbox(fast()).await;
    let account_id = linked(&sandbox).await;
    sandbox.send(&event(&sandbox, Kind::AccountUnlinked, &account_id));
    let log = sandbox.settled().await;
    assert_eq!(statuses(&log[2]), [&answers[2..], &[200]].concat());
}

#[tokio::test]
async fn delivery_to_an_unreachable_receiver_is_given_up_after_48_hours() {
    let settings = Settings {
        // No process listens on port 9, and binding it needs privileges.
        webhook_url: "http://127.0.0.1:9/".to_owned(),
        time_scale: 1e9,
        ..Settings::default()
    };
    let sandbox = Sandbox::start(settings).await.expect("a sandbox");
    sandbox.link(Link::default());
    for delivery in sandbox.settled().await {
        assert_eq!(delivery.outcome, Outcome::GivenUp);
        assert_eq!(delivery.attempts.len(), 20);
        assert!(matches!(delivery.attempts[0], Attempt::Error(_)));
    }
}

#[tokio::test]
async fn names_below_localhost_resolve_to_this_machine() {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(fast()).await;
    let url = format!("http://abc.execute-api.localhost:{}/hook", receiver.port());
    sandbox.set_webhook(&url, SECRET).expect("a URL");
    linked(&sandbox).await;
    let host = format!("abc.execute-api.localhost:{}", receiver.port());
    assert_eq!(receiver.posts()[0].header("host"), Some(host.as_str()));
}

#[tokio::test]
async fn lost_event_never_arrives() {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(fast()).await;
    let account_id = linked(&sandbox).await;
    sandbox.send_with(&event(&sandbox, Kind::AccountUnlinked, &account_id), NetworkFault::Lost);
    let log = sandbox.settled().await;
    assert_eq!(log[2].outcome, Outcome::Lost);
    assert!(log[2].attempts.is_empty());
    assert_eq!(receiver.posts().len(), 2);
}

#[tokio::test]
async fn duplicated_event_arrives_in_the_chosen_number_of_identical_copies() {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(fast()).await;
    let account_id = linked(&sandbox).await;
    let update = event(&sandbox, Kind::AccountUpdated, &account_id);
    let number = sandbox.send_with(&update, NetworkFault::Duplicated(3));
    let log = sandbox.settled().await;
    let copies: Vec<u32> = log[2..].iter().map(|delivery| delivery.copy).collect();
    assert_eq!(copies, [1, 2, 3]);
    assert!(log[2..].iter().all(|delivery| delivery.number == number));
    let posts = receiver.posts();
    assert_eq!(posts.len(), 5);
    assert!(posts[2..].iter().all(|post| post.body == posts[2].body));
}

#[tokio::test]
async fn later_events_do_not_wait_for_a_delayed_one() {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(Settings::default()).await;
    let account_id = linked(&sandbox).await;
    let events = updates(&sandbox, &account_id, 2);
    sandbox.send_with(&events[0], NetworkFault::Delayed(Duration::from_hours(1)));
    sandbox.send_with(&events[1], NetworkFault::Prompt);
    receiver.received(3).await;
    assert_eq!(event_ids(&receiver)[2], ids_of(&events)[1]);
    assert_eq!(sandbox.deliveries()[2].outcome, Outcome::UnderWay);
}

#[tokio::test]
async fn delayed_event_arrives_later() {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(fast()).await;
    let account_id = linked(&sandbox).await;
    let update = event(&sandbox, Kind::AccountUpdated, &account_id);
    sandbox.send_with(&update, NetworkFault::Delayed(Duration::from_hours(1)));
    assert_eq!(sandbox.settled().await[2].outcome, Outcome::Delivered);
    assert_eq!(receiver.posts().len(), 3);
}

#[tokio::test]
async fn overtaken_event_arrives_after_the_next_event_of_its_account() {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(Settings::default()).await;
    let account_id = linked(&sandbox).await;
    let events = updates(&sandbox, &account_id, 2);
    sandbox.send_with(&events[0], NetworkFault::Overtaken);
    sandbox.send_with(&events[1], NetworkFault::Prompt);
    sandbox.settled().await;
    let arrived = event_ids(&receiver);
    assert_eq!(arrived[2..], [ids_of(&events)[1].clone(), ids_of(&events)[0].clone()]);
}

#[tokio::test]
async fn overtaken_event_without_a_next_event_arrives() {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(fast()).await;
    let account_id = linked(&sandbox).await;
    let update = event(&sandbox, Kind::AccountUpdated, &account_id);
    sandbox.send_with(&update, NetworkFault::Overtaken);
    assert_eq!(sandbox.settled().await[2].outcome, Outcome::Delivered);
}

#[tokio::test]
async fn events_of_one_account_arrive_in_the_order_requested() {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(fast()).await;
    let account_id = linked(&sandbox).await;

    let events = updates(&sandbox, &account_id, 20);
    let mut expected = ids_of(&events);
    sandbox.send_all(events, Order::AsGiven);
    sandbox.settled().await;
    assert_eq!(event_ids(&receiver)[2..], expected);

    let events = updates(&sandbox, &account_id, 20);
    expected = ids_of(&events);
    expected.reverse();
    sandbox.send_all(events, Order::Reversed);
    sandbox.settled().await;
    assert_eq!(event_ids(&receiver)[22..], expected);
}

#[tokio::test]
async fn burst_of_500_webhooks_over_many_accounts_arrives_completely() {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(fast()).await;
    for _ in 0..250 {
        sandbox.link(Link::default());
    }
    let log = sandbox.settled().await;
    assert_eq!(log.len(), 500);
    assert!(log.iter().all(|delivery| delivery.outcome == Outcome::Delivered));
    let ids: HashSet<_> = event_ids(&receiver).into_iter().collect();
    assert_eq!(ids.len(), 500);
}

#[tokio::test]
async fn retries_go_to_the_new_address_with_the_new_secret() {
    let refusing = Receiver::answering_200().await;
    refusing.answer_always(401);
    let slower = Settings { time_scale: 1e4, ..fast() };
    let sandbox = refusing.sandbox(slower).await;
    sandbox.link(Link::default());
    refusing.received(2).await;

    let receiver = Receiver::answering_200().await;
    sandbox.set_webhook(&receiver.url(), "another-secret").expect("a URL");
    let log = sandbox.settled().await;

    assert!(log.iter().all(|delivery| delivery.outcome == Outcome::Delivered));
    let secrets: HashSet<_> = receiver
        .posts()
        .iter()
        .map(|post| post.header("mono-webhook-secret").map(str::to_owned))
        .collect();
    assert_eq!(secrets, HashSet::from([Some("another-secret".to_owned())]));
}

#[tokio::test]
async fn raw_delivery_has_only_the_callers_bytes_and_headers() {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(fast()).await;
    let headers = [("mono-web-secret", "wrong"), ("content-type", "text/plain")];
    sandbox.send_raw(b"\xff not JSON", &headers).expect("headers");
    let log = sandbox.settled().await;
    assert_eq!(log[0].kind, None);
    let post = &receiver.posts()[0];
    assert_eq!(&post.body[..], b"\xff not JSON");
    assert_eq!(post.header("mono-web-secret"), Some("wrong"));
    assert_eq!(post.header("content-type"), Some("text/plain"));
    assert_eq!(post.header("mono-webhook-secret"), None);
}

#[tokio::test]
async fn missing_webhook_url_sends_nothing_and_is_logged() {
    let sandbox = Sandbox::start(fast()).await.expect("a sandbox");
    sandbox.link(Link::default());
    let log = sandbox.settled().await;
    assert!(log.iter().all(|delivery| delivery.outcome == Outcome::Unaddressed));
}

#[tokio::test]
async fn same_seed_repeats_every_id_and_every_network_fault() {
    let unreliable =
        Network { lose: 0.3, duplicate: 0.3, delay: 0.3, reorder: 0.3, ..Network::default() };
    let receiver = Receiver::answering_200().await;
    let mut logs = Vec::new();
    for _ in 0..2 {
        let sandbox = receiver.sandbox(fast()).await;
        sandbox.set_network(unreliable).expect("probabilities");
        for _ in 0..20 {
            sandbox.link(Link::default());
        }
        logs.push(sandbox.settled().await);
    }
    assert_eq!(logs[0], logs[1]);
}

#[tokio::test]
async fn invalid_settings_are_refused() {
    let https = Settings { webhook_url: "https://example.com/".to_owned(), ..fast() };
    let frozen = Settings { time_scale: 0.0, ..fast() };
    for settings in [https, frozen] {
        let error = Sandbox::start(settings).await.err().expect("a refusal");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn stopped_sandbox_frees_its_port() {
    let settings = Settings {
        // No other test uses a port of this address.
        listen: SocketAddr::from(([127, 0, 0, 2], 0)),
        ..fast()
    };
    let sandbox = Sandbox::start(settings).await.expect("a sandbox");
    let address = sandbox.address();
    sandbox.stop().await;
    TcpListener::bind(address).await.expect("a free port");
}
