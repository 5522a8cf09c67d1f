//! What Mono does when something happens to an account: it remembers, and it sends.

mod history;
mod sync;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use axum::http::HeaderValue;
use serde::Deserialize;
use tokio::task::JoinSet;

use self::sync::secret_key;
pub(crate) use self::sync::{Sync, Trigger};
use crate::account::{Account, DataStatus, Link};
use crate::call::Call;
use crate::delivery::{Delivery, PendingDelivery, Webhook, WebhookSender};
use crate::event::{Dialect, Event, Kind};
use crate::id_generator::IdGenerator;
use crate::job::{Job, JobName, Jobs};
use crate::lock;
use crate::network::{Chance, Network, NetworkFate, Order};
use crate::plan::{Plan, Script};
use crate::refusal::Refusal;
use crate::settings::Settings;

/// What a refresh comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refresh {
    /// There are transactions of today, and the balance has changed.
    #[default]
    NewData,
    /// All is as it was.
    NothingNew,
    /// The bank wants the customer.
    ReauthorisationRequired,
    /// It failed at Mono; the old data is still served.
    Failed,
    /// The bank is down.
    BankUnavailable,
    /// The balance came, the transactions did not. In v1, the bank gave fewer than before.
    Partial,
}

impl Refresh {
    /// What Mono holds of the account afterwards.
    fn leaves(self, account: &Account) -> DataStatus {
        match self {
            Self::NewData | Self::NothingNew => account.after_fetch(),
            Self::ReauthorisationRequired | Self::Failed => account.data_status,
            Self::BankUnavailable => DataStatus::Unavailable,
            // v1 has no word for it: it keeps what it had.
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

    /// v1 knows neither PARTIAL nor UNAVAILABLE, and says nothing about jobs.
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

/// The stand-in itself: the accounts it remembers and the webhook_sender that carries its webhooks.
///
/// Sending returns at once; [`settled`](Mono::settled) waits for what has been sent.
pub struct Mono {
    accounts: Mutex<BTreeMap<String, Account>>,
    id_generator: Mutex<IdGenerator>,
    chance: Mutex<Chance>,
    webhook_sender: Arc<WebhookSender>,
    secret_key: Mutex<HeaderValue>,
    scripts: Mutex<HashMap<String, Script>>,
    jobs: Jobs,
    slow_jobs: Mutex<JoinSet<()>>,
    calls: Mutex<Vec<Call>>,
    dialect: Dialect,
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
            jobs: Jobs::default(),
            slow_jobs: Mutex::default(),
            calls: Mutex::default(),
            dialect: settings.dialect,
            seed: settings.seed,
        })
    }

    /// The seed everything follows from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Has the webhooks sent elsewhere, or with another secret, from the next attempt on, retries
    /// included.
    ///
    /// # Errors
    ///
    /// When the URL is no http:// URL, or the secret no header value.
    pub fn set_webhook(&self, url: &str, secret: &str) -> Result<(), Refusal> {
        self.webhook_sender.set_webhook(Webhook::new(url, secret)?);
        Ok(())
    }

    /// Has the network behave like this from the next event on.
    ///
    /// # Errors
    ///
    /// When a number is out of range.
    pub fn set_network(&self, network: Network) -> Result<(), Refusal> {
        lock(&self.chance).set_network(network.checked()?);
        Ok(())
    }

    /// A customer links an account: connected, and the first data after it. Returns its id.
    pub fn link(&self, link: Link) -> String {
        let mut accounts = lock(&self.accounts);
        let (number, silent) = (accounts.len() + 1, link.silent);
        let mut account =
            Account::fictional(number, link, self.dialect, &mut lock(&self.id_generator));
        account.data_status = account.whole();
        if !silent {
            self.tell(&account, &[Kind::AccountConnected, Kind::AccountUpdated]);
        }
        let account_id = account.account_id.clone();
        accounts.insert(account_id.clone(), account);
        account_id
    }

    /// Mono fetches the account again: in v2 a job ends first, the update follows.
    ///
    /// # Errors
    ///
    /// When the account is unknown or unlinked.
    pub fn refresh(&self, account_id: &str, outcome: Refresh) -> Result<(), Refusal> {
        let account = self.linked(account_id)?;
        let name = if account.balance_only { JobName::Balance } else { JobName::Statement };
        let plan = Plan { outcome, ..Plan::default() };
        self.end(self.new_job(account_id, name, plan.pace), &plan);
        Ok(())
    }

    /// What a job found is kept and, if webhooks are wanted, told.
    fn fetched(&self, job: &Job, outcome: Refresh, webhooks: bool) -> Result<(), Refusal> {
        self.change(&job.account_id, |account| {
            account.job_id.clone_from(&job.id);
            account.job_name = job.name;
            account.data_status = outcome.leaves(account);
            if matches!(outcome, Refresh::NewData | Refresh::NothingNew) {
                account.take_in(outcome == Refresh::NewData, job.incomplete);
            }
            if webhooks { outcome.events(account.dialect) } else { &[] }
        })
    }

    /// The customer satisfies the bank: reauthorized, and the data after it.
    ///
    /// # Errors
    ///
    /// When the account is unknown or unlinked.
    pub fn reauthorise(&self, account_id: &str) -> Result<(), Refusal> {
        self.change(account_id, |account| {
            account.data_status = account.whole();
            &[Kind::AccountReauthorized, Kind::AccountUpdated]
        })
    }

    /// The link is gone, and with it everything but the memory of the account.
    ///
    /// # Errors
    ///
    /// When the account is unknown or already unlinked.
    pub fn unlink(&self, account_id: &str) -> Result<(), Refusal> {
        self.change(account_id, |account| {
            account.unlinked = true;
            &[Kind::AccountUnlinked]
        })
    }

    /// An event about an account as it is now, not yet sent.
    ///
    /// # Errors
    ///
    /// When the account is unknown. An unlinked one is allowed: Mono's events can be late.
    pub fn event(&self, kind: Kind, account_id: &str) -> Result<Event, Refusal> {
        let accounts = lock(&self.accounts);
        let account = accounts.get(account_id).ok_or_else(|| unknown(account_id))?;
        Ok(Event::new(kind, account, &lock(&self.id_generator).stamp()))
    }

    /// Sends an event through the network as it is set. Returns the number it has in the log.
    pub fn send(&self, event: &Event) -> usize {
        let fate = lock(&self.chance).fate();
        self.send_with(event, fate)
    }

    /// Sends an event to a fate of the caller's choice. Returns the number it has in the log.
    pub fn send_with(&self, event: &Event, fate: NetworkFate) -> usize {
        self.webhook_sender.send(PendingDelivery::of(event), fate)
    }

    /// Sends many events, each through the network as it is set. Those of one account arrive in
    /// the order asked for.
    pub fn send_all(&self, mut events: Vec<Event>, order: Order) {
        lock(&self.chance).arrange(&mut events, order);
        for event in &events {
            self.send(event);
        }
    }

    /// Posts these bytes with these headers and no others. Returns the number it has in the log.
    ///
    /// # Errors
    ///
    /// When a header cannot be sent.
    pub fn send_raw(
        &self,
        body: impl Into<Vec<u8>>,
        headers: &[(&str, &str)],
    ) -> Result<usize, Refusal> {
        let pending = PendingDelivery::raw(body.into(), headers)?;
        Ok(self.webhook_sender.send(pending, NetworkFate::Prompt))
    }

    /// One account.
    pub fn account(&self, account_id: &str) -> Option<Account> {
        lock(&self.accounts).get(account_id).cloned()
    }

    /// Every account ever linked, in the order of their ids.
    pub fn accounts(&self) -> Vec<Account> {
        lock(&self.accounts).values().cloned().collect()
    }

    /// Everything sent so far, in the order it was sent.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.webhook_sender.deliveries()
    }

    /// Waits until every job that ever ends and every delivery has ended, well or badly; the log
    /// of the deliveries then.
    pub async fn settled(&self) -> Vec<Delivery> {
        self.jobs.settled().await;
        self.webhook_sender.settled().await
    }

    pub(crate) fn abandon(&self) {
        lock(&self.slow_jobs).abort_all();
        self.webhook_sender.abandon();
    }

    /// What a customer who is to re-authorise is given to prove it.
    pub(crate) fn token(&self) -> String {
        lock(&self.id_generator).token()
    }

    /// One account, unless its link is gone.
    pub(crate) fn linked(&self, account_id: &str) -> Result<Account, Refusal> {
        let account = self.account(account_id).ok_or_else(|| unknown(account_id))?;
        if account.unlinked { Err(Refusal::Unlinked(account_id.to_owned())) } else { Ok(account) }
    }

    /// Changes a linked account and sends what the change calls for. The accounts stay locked
    /// meanwhile, so that two changes are never told in the other order.
    fn change(
        &self,
        account_id: &str,
        change: impl FnOnce(&mut Account) -> &'static [Kind],
    ) -> Result<(), Refusal> {
        let mut accounts = lock(&self.accounts);
        let account = found(&mut accounts, account_id)?;
        let kinds = change(account);
        self.tell(account, kinds);
        Ok(())
    }

    fn tell(&self, account: &Account, kinds: &[Kind]) {
        for kind in kinds {
            let stamp = lock(&self.id_generator).stamp();
            self.send(&Event::new(*kind, account, &stamp));
        }
    }
}

/// One account to be changed, unless its link is gone.
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
