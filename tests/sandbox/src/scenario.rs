//! Mono's reactions to changes of an account: it stores them and sends webhooks.

mod history;
mod links;
mod sync;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use axum::http::HeaderValue;
use serde::Deserialize;
use tokio::task::JoinSet;

pub(crate) use self::links::HostedPage;
use self::links::Logins;
use self::sync::secret_key;
pub(crate) use self::sync::{Sync, Trigger};
use crate::account::{Account, DataStatus, Link};
use crate::call::Call;
use crate::delivery::{Delivery, PendingDelivery, Webhook, WebhookSender};
use crate::event::{Dialect, Event, Kind};
use crate::id_generator::IdGenerator;
use crate::job::{Job, JobName, Jobs};
use crate::lock;
use crate::network::{Chance, Network, NetworkFault, Order};
use crate::plan::{Plan, Script};
use crate::refusal::Refusal;
use crate::settings::Settings;

/// The outcome of a refresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refresh {
    /// There are new transactions of today, and the balance has changed.
    #[default]
    NewData,
    /// Nothing has changed.
    NothingNew,
    /// The bank requires re-authorisation.
    ReauthorisationRequired,
    /// The refresh failed at Mono. The old data is still served.
    Failed,
    /// The bank is down.
    BankUnavailable,
    /// The balance was fetched, but not the transactions. In v1, the bank returned fewer transactions
    /// than before.
    Partial,
}

impl Refresh {
    /// The account's data status after the refresh.
    fn data_status_after(self, account: &Account) -> DataStatus {
        match self {
            Self::NewData | Self::NothingNew => account.after_fetch(),
            Self::ReauthorisationRequired | Self::Failed => account.data_status,
            Self::BankUnavailable => DataStatus::Unavailable,
            // v1 has no status for it and keeps the old one.
            Self::Partial if account.dialect == Dialect::V1 => account.data_status,
            Self::Partial => DataStatus::Partial,
        }
    }

    fn events(self, dialect: Dialect) -> &'static [Kind] {
        match dialect {
            Dialect::V1 => self.events_v1(),
            Dialect::V2 => self.events_v2(),
        }
    }

    /// v1 has neither PARTIAL nor UNAVAILABLE, and no events about jobs.
    fn events_v1(self) -> &'static [Kind] {
        match self {
            Self::NewData | Self::NothingNew => &[Kind::AccountUpdatedBySync],
            Self::ReauthorisationRequired => &[Kind::ReauthorisationRequired],
            Self::Failed | Self::Partial => &[Kind::SyncFailed],
            Self::BankUnavailable => &[Kind::AccountUpdatedFailed],
        }
    }

    fn events_v2(self) -> &'static [Kind] {
        match self {
            Self::NewData => &[Kind::JobFinished, Kind::AccountUpdatedBySync],
            Self::NothingNew => &[Kind::JobFinished, Kind::AccountUpdatedNothingNew],
            Self::ReauthorisationRequired => {
                &[Kind::JobFailed, Kind::AccountUpdatedReauthorisationRequired]
            }
            Self::Failed => &[Kind::JobFailed, Kind::AccountUpdatedSyncFailed],
            Self::BankUnavailable => &[Kind::JobFailed, Kind::AccountUpdatedUnavailable],
            Self::Partial => &[Kind::JobFinished, Kind::AccountUpdatedPartial],
        }
    }
}

/// The stand-in itself: its accounts and the sender of its webhooks.
///
/// Sending returns at once. [`settled`](Mono::settled) waits for the deliveries.
pub struct Mono {
    accounts: Mutex<BTreeMap<String, Account>>,
    id_generator: Mutex<IdGenerator>,
    chance: Mutex<Chance>,
    webhook_sender: Arc<WebhookSender>,
    secret_key: Mutex<HeaderValue>,
    scripts: Mutex<HashMap<String, Script>>,
    logins: Mutex<Logins>,
    jobs: Jobs,
    slow_jobs: Mutex<JoinSet<()>>,
    calls: Mutex<Vec<Call>>,
    dialect: Dialect,
    hosted_pages: bool,
    seed: u64,
}

impl Mono {
    pub(crate) fn new(settings: &Settings) -> Result<Self, Refusal> {
        let webhook_sender = WebhookSender::new(settings.time_scale)?;
        if !settings.webhook_url.is_empty() {
            webhook_sender
                .set_webhook(Webhook::new(&settings.webhook_url, &settings.webhook_secret)?);
        }
        Ok(Self {
            accounts: Mutex::default(),
            id_generator: Mutex::new(IdGenerator::new(settings.seed)),
            chance: Mutex::new(Chance::new(settings.seed)),
            webhook_sender: Arc::new(webhook_sender),
            secret_key: Mutex::new(secret_key(&settings.secret_key)?),
            scripts: Mutex::default(),
            logins: Mutex::default(),
            jobs: Jobs::default(),
            slow_jobs: Mutex::default(),
            calls: Mutex::default(),
            dialect: settings.dialect,
            hosted_pages: settings.hosted_pages,
            seed: settings.seed,
        })
    }

    /// The seed of all ids and network faults.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Sets the URL and the secret of the webhook. They apply from the next attempt on, retries included.
    ///
    /// # Errors
    ///
    /// If the URL is not an http:// URL, or the secret is not a header value.
    pub fn set_webhook(&self, url: &str, secret: &str) -> Result<(), Refusal> {
        self.webhook_sender.set_webhook(Webhook::new(url, secret)?);
        Ok(())
    }

    /// Sets the faults of the network from the next event on.
    ///
    /// # Errors
    ///
    /// If a number is out of range.
    pub fn set_network(&self, network: Network) -> Result<(), Refusal> {
        lock(&self.chance).set_network(network.checked()?);
        Ok(())
    }

    /// A customer links an account: `account_connected`, then the first data. Returns the account's id.
    pub fn link(&self, link: Link) -> String {
        let mut accounts = lock(&self.accounts);
        let (number, silent) = (accounts.len() + 1, link.silent);
        let mut account =
            Account::fictional(number, link, self.dialect, &mut lock(&self.id_generator));
        account.data_status = account.complete_status();
        if !silent {
            self.send_events(&account, &[Kind::AccountConnected, Kind::AccountUpdated]);
        }
        let account_id = account.account_id.clone();
        accounts.insert(account_id.clone(), account);
        account_id
    }

    /// Mono fetches the account again. In v2, the event about the job precedes the update.
    ///
    /// # Errors
    ///
    /// If the account is unknown or unlinked.
    pub fn refresh(&self, account_id: &str, outcome: Refresh) -> Result<(), Refusal> {
        let account = self.linked(account_id)?;
        let name = if account.balance_only { JobName::Balance } else { JobName::Statement };
        let plan = Plan { outcome, ..Plan::default() };
        self.end(self.new_job(account_id, name, plan.pace), &plan);
        Ok(())
    }

    /// Stores the result of a job, and sends its webhooks if `webhooks` is set.
    fn fetched(&self, job: &Job, outcome: Refresh, webhooks: bool) -> Result<(), Refusal> {
        self.change(&job.account_id, |account| {
            account.job_id.clone_from(&job.id);
            account.job_name = job.name;
            account.data_status = outcome.data_status_after(account);
            if matches!(outcome, Refresh::NewData | Refresh::NothingNew) {
                account.apply_fetch(outcome == Refresh::NewData, job.incomplete);
            }
            if webhooks { outcome.events(account.dialect) } else { &[] }
        })
    }

    /// The customer authenticates: `account_reauthorized`, then the new data.
    ///
    /// # Errors
    ///
    /// If the account is unknown or unlinked.
    pub fn reauthorise(&self, account_id: &str) -> Result<(), Refusal> {
        self.change(account_id, |account| {
            account.data_status = account.complete_status();
            &[Kind::AccountReauthorized, Kind::AccountUpdated]
        })
    }

    /// The customer unlinks the account. Mono only remembers that it existed.
    ///
    /// # Errors
    ///
    /// If the account is unknown or already unlinked.
    pub fn unlink(&self, account_id: &str) -> Result<(), Refusal> {
        self.change(account_id, |account| {
            account.unlinked = true;
            &[Kind::AccountUnlinked]
        })
    }

    /// An event about the present state of an account, not yet sent.
    ///
    /// # Errors
    ///
    /// If the account is unknown. An unlinked account is allowed, because Mono's events can be late.
    pub fn event(&self, kind: Kind, account_id: &str) -> Result<Event, Refusal> {
        let accounts = lock(&self.accounts);
        let account = accounts.get(account_id).ok_or_else(|| unknown(account_id))?;
        Ok(Event::new(kind, account, &lock(&self.id_generator).stamp()))
    }

    /// Sends an event through the network. Returns its number in the log.
    pub fn send(&self, event: &Event) -> usize {
        let network_fault = lock(&self.chance).network_fault();
        self.send_with(event, network_fault)
    }

    /// Sends an event with this fault of the network. Returns its number in the log.
    pub fn send_with(&self, event: &Event, network_fault: NetworkFault) -> usize {
        self.webhook_sender.send(PendingDelivery::of(event), network_fault)
    }

    /// Sends many events through the network. Events of one account arrive in this order.
    pub fn send_all(&self, mut events: Vec<Event>, order: Order) {
        lock(&self.chance).arrange(&mut events, order);
        for event in &events {
            self.send(event);
        }
    }

    /// Posts these bytes with only these headers. Returns the delivery's number in the log.
    ///
    /// # Errors
    ///
    /// If a header cannot be sent.
    pub fn send_raw(
        &self,
        body: impl Into<Vec<u8>>,
        headers: &[(&str, &str)],
    ) -> Result<usize, Refusal> {
        let pending = PendingDelivery::raw(body.into(), headers)?;
        Ok(self.webhook_sender.send(pending, NetworkFault::Prompt))
    }

    pub fn account(&self, account_id: &str) -> Option<Account> {
        lock(&self.accounts).get(account_id).cloned()
    }

    /// All accounts ever linked, sorted by id.
    pub fn accounts(&self) -> Vec<Account> {
        lock(&self.accounts).values().cloned().collect()
    }

    /// Some of the linked accounts in the order of their ids, and the number of all.
    pub(crate) fn linked_accounts(&self, skip: usize, take: usize) -> (Vec<Account>, usize) {
        let accounts = lock(&self.accounts);
        let linked = || accounts.values().filter(|account| !account.unlinked);
        (linked().skip(skip).take(take).cloned().collect(), linked().count())
    }

    /// All deliveries so far, in the order in which they were sent.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.webhook_sender.deliveries()
    }

    /// Waits until every delivery has ended, and every job except those that never end. Returns the log of
    /// the deliveries.
    pub async fn settled(&self) -> Vec<Delivery> {
        self.jobs.settled().await;
        self.webhook_sender.settled().await
    }

    pub(crate) fn abandon(&self) {
        lock(&self.slow_jobs).abort_all();
        self.webhook_sender.abandon();
    }

    /// A new id of a customer.
    pub(crate) fn object_id(&self) -> String {
        lock(&self.id_generator).object_id()
    }

    /// A new token for a re-authorisation or a link.
    pub(crate) fn token(&self) -> String {
        lock(&self.id_generator).token()
    }

    /// An account that is linked.
    pub(crate) fn linked(&self, account_id: &str) -> Result<Account, Refusal> {
        let account = self.account(account_id).ok_or_else(|| unknown(account_id))?;
        if account.unlinked { Err(Refusal::Unlinked(account_id.to_owned())) } else { Ok(account) }
    }

    /// Changes a linked account and sends the events of the change. The accounts stay locked meanwhile, so
    /// that the events of two changes are sent in the order of the changes.
    fn change(
        &self,
        account_id: &str,
        change: impl FnOnce(&mut Account) -> &'static [Kind],
    ) -> Result<(), Refusal> {
        let mut accounts = lock(&self.accounts);
        let account = found(&mut accounts, account_id)?;
        let kinds = change(account);
        self.send_events(account, kinds);
        Ok(())
    }

    fn send_events(&self, account: &Account, kinds: &[Kind]) {
        for kind in kinds {
            let stamp = lock(&self.id_generator).stamp();
            self.send(&Event::new(*kind, account, &stamp));
        }
    }
}

/// A linked account, to be changed.
fn found<'a>(
    accounts: &'a mut BTreeMap<String, Account>,
    account_id: &str,
) -> Result<&'a mut Account, Refusal> {
    let account = accounts.get_mut(account_id).ok_or_else(|| unknown(account_id))?;
    if account.unlinked { Err(Refusal::Unlinked(account_id.to_owned())) } else { Ok(account) }
}

fn unknown(account_id: &str) -> Refusal {
    Refusal::UnknownAccount(account_id.to_owned())
}
