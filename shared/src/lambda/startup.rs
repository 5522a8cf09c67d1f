//! Builds the clients and settings of a function from its environment, once at its start.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_eventbridge::Client as EventBridge;
use aws_sdk_secretsmanager::Client as SecretsManager;
use aws_sdk_sqs::Client as Sqs;

use crate::aws::event_bus::EventBus;
use crate::aws::queues::{
    AccountQueue, DeadLetterQueue, DeliveryQueue, ForwardQueue, ImportQueue, WebhookQueue,
};
use crate::aws::sdk::{self, Timeouts};
use crate::aws::secrets::SecretTextCache;
use crate::aws::store::{AccountRows, AccountStore, EventStore, Ledger, TransactionStore};
use crate::aws::webhook_secrets::SecretCache;
use crate::lambda::environment::{ConfigError, Environment};
use crate::lambda::telemetry;
use crate::mono::{KeyCache, Meter, Mono};
use crate::receiver::Receiver;

/// The environment of a function, and its AWS configuration.
pub struct Startup {
    environment: Environment,
    sdk: SdkConfig,
}

/// How long notifications have two signatures after a change of the secret.
const SIGNATURE_OVERLAP: Duration = Duration::from_hours(24);

type Result<T> = std::result::Result<T, ConfigError>;

impl Startup {
    /// Reads the environment of the process and starts logging.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the variable that is missing or invalid. This holds for all functions of this type.
    pub fn of_process(timeouts: Timeouts) -> Result<Self> {
        let environment = Environment::of_process();
        telemetry::start(environment.optional("LOG_LEVEL"));
        let region = environment.required("AWS_REGION")?;
        // The variable of the AWS SDK for a custom endpoint.
        let endpoint = environment.optional("AWS_ENDPOINT_URL");
        let sdk = sdk::config(region, endpoint, timeouts);
        Ok(Self { environment, sdk })
    }

    /// The settings of a program that is no function.
    pub const fn new(environment: Environment, sdk: SdkConfig) -> Self {
        Self { environment, sdk }
    }

    pub const fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The account records (`ACCOUNTS_TABLE`).
    pub fn accounts(&self) -> Result<AccountStore> {
        let table = self.environment.required("ACCOUNTS_TABLE")?;
        Ok(AccountStore::new(self.dynamodb(), table, self.environment.refresh_policy()?))
    }

    /// The ledger of Mono's charges, in the table of account records.
    pub fn ledger(&self) -> Result<Ledger> {
        let table = self.environment.required("ACCOUNTS_TABLE")?;
        Ok(Ledger::new(self.dynamodb(), table, self.environment.daily_budgets()?))
    }

    /// The transactions (`TRANSACTIONS_TABLE`), and for how long they are kept (`TRANSACTION_RETENTION_DAYS`).
    pub fn transactions(&self) -> Result<TransactionStore> {
        let table = self.environment.required("TRANSACTIONS_TABLE")?;
        let retention = self.environment.transaction_retention()?;
        Ok(TransactionStore::new(self.dynamodb(), table, retention))
    }

    /// The histories (`EVENTS_TABLE`). `None`: no history is kept.
    pub fn events(&self) -> Result<Option<EventStore>> {
        let table = self.environment.required("EVENTS_TABLE")?;
        Ok(EventStore::new(self.dynamodb(), table, self.environment.event_retention()?))
    }

    /// The items of accounts in the tables of transactions and of histories (`TRANSACTIONS_TABLE`, `EVENTS_TABLE`).
    pub fn account_rows(&self) -> Result<Vec<AccountRows>> {
        ["TRANSACTIONS_TABLE", "EVENTS_TABLE"]
            .into_iter()
            .map(|name| Ok(AccountRows::new(self.dynamodb(), self.environment.required(name)?)))
            .collect()
    }

    /// Mono's API, with the key of `MONO_KEY_ARN`. No call takes longer than `limit`.
    pub fn mono(&self, limit: Duration) -> Result<Mono> {
        let (version, base_url) = self.environment.mono_api()?;
        let keys = KeyCache::new(
            SecretsManager::new(&self.sdk),
            self.environment.required("MONO_KEY_ARN")?,
        );
        let meter = Meter::new(self.environment.mono_prices()?, self.ledger()?);
        Ok(Mono::new(version, base_url, keys, meter, limit))
    }

    /// The webhook secret (`WEBHOOK_SECRET_ARN`), and for how long the previous one is accepted (`PREVIOUS_SECRET_HOURS`).
    pub fn webhook_secret(&self) -> Result<SecretCache> {
        let arn = self.environment.required("WEBHOOK_SECRET_ARN")?;
        let previous_for = self.environment.previous_secret_hours()?;
        Ok(SecretCache::new(SecretsManager::new(&self.sdk), arn, previous_for))
    }

    /// The queue of verified webhooks (`WEBHOOK_QUEUE_URL`).
    pub fn webhook_queue(&self) -> Result<WebhookQueue> {
        Ok(WebhookQueue::new(self.sqs(), self.environment.required("WEBHOOK_QUEUE_URL")?))
    }

    /// The dead-letter queue of webhooks (`WEBHOOK_DEAD_LETTER_QUEUE_URL`).
    pub fn webhook_dead_letters(&self) -> Result<DeadLetterQueue> {
        self.dead_letters("WEBHOOK_DEAD_LETTER_QUEUE_URL")
    }

    /// The queue of forwarded events (`FORWARD_QUEUE_URL`), and which events are forwarded (`FORWARD_EVENTS`).
    pub fn forward_queue(&self) -> Result<ForwardQueue> {
        let events = self.environment.forward_events()?;
        let url = self.environment.required("FORWARD_QUEUE_URL")?;
        Ok(ForwardQueue::new(self.sqs(), url, events))
    }

    /// The receiver of notifications (`NOTIFY_URL`). `None`: no URL is set.
    pub fn notify_receiver(&self) -> Result<Option<Receiver>> {
        Ok(self.environment.receiver_url("NOTIFY_URL")?.map(Receiver::new))
    }

    /// The receiver of forwarded events (`FORWARD_URL`). `None`: no URL is set.
    pub fn forward_receiver(&self) -> Result<Option<Receiver>> {
        Ok(self.environment.receiver_url("FORWARD_URL")?.map(Receiver::new))
    }

    /// The notifications to deliver (`NOTIFICATION_QUEUE_URL`), and their dead-letter queue
    /// (`NOTIFICATION_DEAD_LETTER_QUEUE_URL`).
    pub fn notification_delivery(&self) -> Result<(DeliveryQueue, DeadLetterQueue)> {
        self.delivery("NOTIFICATION_QUEUE_URL", "NOTIFICATION_DEAD_LETTER_QUEUE_URL")
    }

    /// The events to deliver (`FORWARD_QUEUE_URL`), and their dead-letter queue (`FORWARD_DEAD_LETTER_QUEUE_URL`).
    pub fn forward_delivery(&self) -> Result<(DeliveryQueue, DeadLetterQueue)> {
        self.delivery("FORWARD_QUEUE_URL", "FORWARD_DEAD_LETTER_QUEUE_URL")
    }

    fn delivery(
        &self,
        queue: &'static str,
        dead_letters: &'static str,
    ) -> Result<(DeliveryQueue, DeadLetterQueue)> {
        let queue = DeliveryQueue::new(self.sqs(), self.environment.required(queue)?);
        Ok((queue, self.dead_letters(dead_letters)?))
    }

    /// The secret that signs notifications (`NOTIFY_SECRET_ARN`). After a change, the previous secret signs too for 24
    /// hours.
    pub fn notify_secret(&self) -> Result<SecretTextCache> {
        self.secret_texts("NOTIFY_SECRET_ARN", SIGNATURE_OVERLAP)
    }

    /// Mono's webhook secret as a text (`WEBHOOK_SECRET_ARN`).
    pub fn webhook_secret_text(&self) -> Result<SecretTextCache> {
        self.secret_texts("WEBHOOK_SECRET_ARN", Duration::ZERO)
    }

    fn secret_texts(&self, arn: &'static str, previous_for: Duration) -> Result<SecretTextCache> {
        let arn = self.environment.required(arn)?;
        Ok(SecretTextCache::new(SecretsManager::new(&self.sdk), arn, previous_for))
    }

    /// The bus of notifications (`EVENT_BUS_NAME`).
    pub fn event_bus(&self) -> Result<EventBus> {
        let name = self.environment.required("EVENT_BUS_NAME")?;
        Ok(EventBus::new(EventBridge::new(&self.sdk), name))
    }

    /// The dead-letter queue of the notifier (`NOTIFIER_DEAD_LETTER_QUEUE_URL`).
    pub fn notifier_dead_letters(&self) -> Result<DeadLetterQueue> {
        self.dead_letters("NOTIFIER_DEAD_LETTER_QUEUE_URL")
    }

    /// The queue of imports (`IMPORT_QUEUE_URL`).
    pub fn import_queue(&self) -> Result<ImportQueue> {
        let url = self.environment.required("IMPORT_QUEUE_URL")?;
        Ok(ImportQueue(AccountQueue::new(self.sqs(), url)))
    }

    /// The queue of refreshes (`REFRESH_QUEUE_URL`).
    pub fn refresh_queue(&self) -> Result<AccountQueue> {
        Ok(AccountQueue::new(self.sqs(), self.environment.required("REFRESH_QUEUE_URL")?))
    }

    fn dead_letters(&self, name: &'static str) -> Result<DeadLetterQueue> {
        Ok(DeadLetterQueue::new(self.sqs(), self.environment.required(name)?))
    }

    fn dynamodb(&self) -> DynamoDb {
        DynamoDb::new(&self.sdk)
    }

    fn sqs(&self) -> Sqs {
        Sqs::new(&self.sdk)
    }
}
