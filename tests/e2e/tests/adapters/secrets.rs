use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use e2e::proxy::Failure;
use e2e::shared_stack::local;
use mono_sync::aws::webhook_secrets::{SecretCache, VerificationError};
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::domain::webhook::secret::UnverifiedBody;

use crate::{fail, proxy, unique};

/// A stored secret and its cache, in one warm instance of the function.
struct Secret {
    name: String,
    cache: SecretCache,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Accepted,
    Refused,
    Unreadable,
}
use Answer::{Accepted, Refused, Unreadable};

fn client() -> Client {
    Client::new(&local().sdk())
}

impl Secret {
    /// The cache of a secret that does not exist.
    fn missing() -> Self {
        let name = unique("secret");
        Self { cache: SecretCache::new(client(), &name, 72 * HOUR), name }
    }

    /// The same with `PreviousSecretHours` 0.
    fn without_previous(self) -> Self {
        Self { cache: SecretCache::new(client(), &self.name, Duration::ZERO), ..self }
    }

    async fn new(value: &str) -> Self {
        let secret = Self::missing();
        let create = client().create_secret().name(&secret.name).secret_string(value);
        create.send().await.unwrap();
        secret
    }

    async fn rotate(&self, value: &str) {
        let put = client().put_secret_value().secret_id(&self.name).secret_string(value);
        put.send().await.unwrap();
    }

    async fn presented(&self, value: &str, now: Timestamp) -> Answer {
        let body = UnverifiedBody::new(b"{}");
        match self.cache.verify(&[value.as_bytes()], body, now).await {
            Ok(_) => Accepted,
            Err(VerificationError::InvalidSecret(_)) => Refused,
            Err(VerificationError::SecretUnavailable(_)) => Unreadable,
        }
    }

    fn reads(&self) -> usize {
        proxy().count("GetSecretValue", &format!("\"{}\"", self.name))
    }

    fn fail(&self, failures: &[Failure]) {
        fail("GetSecretValue", &format!("\"{}\"", self.name), failures);
    }
}

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn secret_is_read_once_in_five_minutes() {
    let secret = Secret::new("the right secret").await;
    let start = Timestamp::now();
    for minutes in 0..5 {
        assert_eq!(secret.presented("the right secret", start + minutes * MINUTE).await, Accepted);
    }
    let reads_per_refresh = 2; // the current version and the previous version
    assert_eq!(secret.reads(), reads_per_refresh);
    assert_eq!(secret.presented("the right secret", start + 5 * MINUTE).await, Accepted);
    assert_eq!(secret.reads(), 2 * reads_per_refresh);
}

#[tokio::test]
async fn secret_older_than_three_days_costs_a_single_read() {
    let secret = Secret::new("the right secret").await;
    let later = Timestamp::now() + 73 * HOUR;
    assert_eq!(secret.presented("the right secret", later).await, Accepted);
    assert_eq!(secret.reads(), 1);
}

#[tokio::test]
async fn rotation_is_noticed_by_the_first_call_with_the_new_secret() {
    let secret = Secret::new("the older secret").await;
    let start = Timestamp::now();
    assert_eq!(secret.presented("the older secret", start).await, Accepted);
    secret.rotate("the newer secret").await;
    assert_eq!(secret.presented("the newer secret", start + MINUTE).await, Accepted);
    assert_eq!(
        secret.presented("the older secret", start + MINUTE).await,
        Accepted,
        "the previous secret is valid for 72 hours"
    );
}

#[tokio::test]
async fn previous_secret_ends_72_hours_after_the_rotation() {
    let secret = Secret::new("the older secret").await;
    secret.rotate("the newer secret").await;
    let start = Timestamp::now();
    assert_eq!(secret.presented("the older secret", start + 71 * HOUR).await, Accepted);
    assert_eq!(secret.presented("the older secret", start + 73 * HOUR).await, Refused);
}

#[tokio::test]
async fn previous_secret_hours_0_rejects_the_previous_secret_within_five_minutes() {
    let secret = Secret::new("the older secret").await.without_previous();
    let start = Timestamp::now();
    assert_eq!(secret.presented("the older secret", start).await, Accepted);
    assert_eq!(secret.reads(), 1, "the previous version is not read");
    secret.rotate("the newer secret").await;
    assert_eq!(secret.presented("the older secret", start + 5 * MINUTE).await, Refused);
    assert_eq!(secret.presented("the newer secret", start + 5 * MINUTE).await, Accepted);
}

#[tokio::test]
async fn secret_before_unset_is_rejected_within_five_minutes_and_after_rotation() {
    let secret = Secret::new("the older secret").await;
    let start = Timestamp::now();
    assert_eq!(secret.presented("the older secret", start).await, Accepted);
    secret.rotate("unset").await;
    assert_eq!(secret.presented("the older secret", start + 5 * MINUTE).await, Refused);
    secret.rotate("the newer secret").await;
    assert_eq!(secret.presented("the newer secret", start + 6 * MINUTE).await, Accepted);
    assert_eq!(secret.presented("the older secret", start + 6 * MINUTE).await, Refused);
}

#[tokio::test]
async fn only_the_last_of_two_previous_secrets_is_accepted() {
    let secret = Secret::new("the first secret").await;
    secret.rotate("the older secret").await;
    secret.rotate("the newer secret").await;
    let now = Timestamp::now();
    assert_eq!(secret.presented("the first secret", now).await, Refused);
    assert_eq!(secret.presented("the older secret", now).await, Accepted);
}

#[tokio::test]
async fn wrong_secret_causes_at_most_one_read_a_minute() {
    let secret = Secret::new("the right secret").await;
    let start = Timestamp::now();
    assert_eq!(secret.presented("the right secret", start).await, Accepted);
    let reads = secret.reads();
    for second in 0..600 {
        let now = start + Duration::from_secs(second);
        assert_eq!(secret.presented("wrong", now).await, Refused);
    }
    let refreshes = (secret.reads() - reads) / 2;
    assert!((1..=10).contains(&refreshes), "{refreshes} in ten minutes");
}

#[tokio::test]
async fn empty_header_causes_no_read() {
    let secret = Secret::new("the right secret").await;
    let start = Timestamp::now();
    assert_eq!(secret.presented("the right secret", start).await, Accepted);
    let reads = secret.reads();
    assert_eq!(secret.presented("", start + 4 * MINUTE).await, Refused);
    assert_eq!(secret.reads(), reads);
}

#[tokio::test]
async fn unset_blank_or_missing_secret_refuses_every_request() {
    for stored in ["unset", " "] {
        let secret = Secret::new(stored).await;
        for presented in ["unset", " ", "", "anything"] {
            assert_eq!(secret.presented(presented, Timestamp::now()).await, Refused);
        }
    }
    let missing = Secret::missing();
    assert_eq!(missing.presented("anything", Timestamp::now()).await, Refused);
}

#[tokio::test]
async fn first_secret_is_used_without_a_new_deployment() {
    let secret = Secret::new("unset").await;
    let start = Timestamp::now();
    assert_eq!(secret.presented("the right secret", start).await, Refused);
    secret.rotate("the right secret").await;
    assert_eq!(secret.presented("the right secret", start + MINUTE).await, Accepted);
    assert_eq!(secret.presented("unset", start + MINUTE).await, Refused);
}

#[tokio::test]
async fn unreadable_secret_is_not_a_refusal() {
    let secret = Secret::new("the right secret").await;
    secret.fail(&[Failure::AccessDenied]);
    let start = Timestamp::now();
    assert_eq!(secret.presented("the right secret", start).await, Unreadable);
    assert_eq!(secret.presented("the right secret", start + MINUTE).await, Accepted);
}

#[tokio::test]
async fn failed_read_is_not_repeated_for_every_call() {
    let secret = Secret::new("the right secret").await;
    secret.fail(&[Failure::AccessDenied]);
    let start = Timestamp::now();
    for _ in 0..20 {
        assert_eq!(secret.presented("the right secret", start).await, Unreadable);
    }
    assert_eq!(secret.reads(), 1);
}

#[tokio::test]
async fn cached_secret_is_not_trusted_after_five_minutes_if_it_cannot_be_read() {
    let secret = Secret::new("the right secret").await;
    let start = Timestamp::now();
    assert_eq!(secret.presented("the right secret", start).await, Accepted);
    secret.fail(&[Failure::AccessDenied]);
    assert_eq!(
        secret.presented("the right secret", start + 5 * MINUTE).await,
        Unreadable,
        "verification fails closed"
    );
}
