//! Posts webhooks and retries them as Mono does, and logs the deliveries.
//!
//! `POST`, `content-type: application/json`, `mono-webhook-secret: <the secret>`. Any status except
//! 200 is a failure. All attempts have the same body, byte for byte.

mod client;
mod log;

use std::collections::HashMap;
use std::error::Error;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use reqwest::{Client, Response, Url};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub use log::{Attempt, Delivery, Outcome};

use self::client::client;
use self::log::Log;
use crate::event::{Event, Kind};
use crate::lock;
use crate::network::NetworkFault;
use crate::refusal::Refusal;
use crate::schedule;

const SECRET_HEADER: HeaderName = HeaderName::from_static("mono-webhook-secret");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The maximum number of concurrent posts.
const MOST_POSTS: usize = 16;
/// The time that an overtaken event waits for the next event, in Mono's time.
const OVERTAKING_TIMEOUT: Duration = Duration::from_mins(1);

/// The URL and the secret of the webhook. It has no `Debug`, because it contains the secret.
#[derive(Clone)]
pub(crate) struct Webhook {
    url: Url,
    secret: HeaderValue,
}

impl Webhook {
    pub(crate) fn new(url: &str, secret: &str) -> Result<Self, Refusal> {
        let url = Url::parse(url)
            .ok()
            .filter(|parsed| parsed.scheme() == "http")
            .ok_or_else(|| Refusal::WebhookUrl(url.to_owned()))?;
        let mut secret = HeaderValue::from_str(secret).map_err(|_| Refusal::WebhookSecret)?;
        secret.set_sensitive(true);
        Ok(Self { url, secret })
    }
}

/// A webhook to be posted, with its data for the log.
pub(crate) struct PendingDelivery {
    kind: Option<Kind>,
    event_id: Option<String>,
    account_id: Option<String>,
    body: Bytes,
    /// These headers replace Mono's own.
    headers: Option<HeaderMap>,
}

impl PendingDelivery {
    pub(crate) fn of(event: &Event) -> Self {
        Self {
            kind: Some(event.kind()),
            event_id: event.event_id().map(str::to_owned),
            account_id: Some(event.account_id().to_owned()),
            body: event.body().to_string().into(),
            headers: None,
        }
    }

    pub(crate) fn raw(body: Vec<u8>, headers: &[(&str, &str)]) -> Result<Self, Refusal> {
        let headers = headers.iter().map(|(name, value)| header(name, value));
        Ok(Self {
            kind: None,
            event_id: None,
            account_id: None,
            body: body.into(),
            headers: Some(headers.collect::<Result<_, _>>()?),
        })
    }

    fn headers(&self, secret: HeaderValue) -> HeaderMap {
        self.headers.clone().unwrap_or_else(|| {
            HeaderMap::from_iter([(header::CONTENT_TYPE, JSON), (SECRET_HEADER, secret)])
        })
    }
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Refusal> {
    let refusal = || Refusal::Header(name.to_owned());
    let header = HeaderName::try_from(name).map_err(|_| refusal())?;
    let value = HeaderValue::from_str(value).map_err(|_| refusal())?;
    Ok((header, value))
}

/// Delivers webhooks to the webhook URL, each in its own task.
pub(crate) struct WebhookSender {
    client: Client,
    webhook: Mutex<Option<Webhook>>,
    time_scale: f64,
    posts: Semaphore,
    lanes: Mutex<HashMap<String, Lane>>,
    log: Log,
    tasks: Mutex<JoinSet<()>>,
}

impl WebhookSender {
    pub(crate) fn new(time_scale: f64) -> Result<Self, Refusal> {
        if !(time_scale.is_finite() && time_scale > 0.0) {
            return Err(Refusal::TimeScale);
        }
        Ok(Self {
            client: client(),
            webhook: Mutex::default(),
            time_scale,
            posts: Semaphore::new(MOST_POSTS),
            lanes: Mutex::default(),
            log: Log::default(),
            tasks: Mutex::default(),
        })
    }

    pub(crate) fn set_webhook(&self, webhook: Webhook) {
        *lock(&self.webhook) = Some(webhook);
    }

    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.log.deliveries()
    }

    pub(crate) async fn settled(&self) -> Vec<Delivery> {
        self.log.settled().await;
        self.log.deliveries()
    }

    /// Waits until every delivery about this account has ended.
    pub(crate) async fn settled_about(&self, account_id: &str) {
        self.log.settled_about(account_id).await;
    }

    pub(crate) fn abandon(&self) {
        lock(&self.tasks).abort_all();
    }

    pub(crate) fn send(
        self: &Arc<Self>,
        pending: PendingDelivery,
        network_fault: NetworkFault,
    ) -> usize {
        let copies = match network_fault {
            NetworkFault::Duplicated(copies) => copies.max(1),
            _ => 1,
        };
        let (number, entries) = self.log.open(&pending, copies);
        if network_fault == NetworkFault::Lost {
            self.log.close(entries.start, Outcome::Lost);
        } else if lock(&self.webhook).is_none() {
            entries.for_each(|entry| self.log.close(entry, Outcome::Unaddressed));
        } else {
            self.dispatch(entries, pending, network_fault);
        }
        number
    }

    fn dispatch(
        self: &Arc<Self>,
        entries: Range<usize>,
        pending: PendingDelivery,
        network_fault: NetworkFault,
    ) {
        let (start, departure) = self.queue(&pending, network_fault);
        let pending = Arc::new(pending);
        let mut tasks = lock(&self.tasks);
        for entry in entries {
            let webhook_sender = Arc::clone(self);
            let pending = Arc::clone(&pending);
            tasks.spawn(webhook_sender.deliver(entry, pending, start.clone(), departure.clone()));
        }
        // Removes ended tasks, which would otherwise accumulate.
        while tasks.try_join_next().is_some() {}
    }

    /// The start of a delivery, and the signal for the deliveries that wait for it.
    fn queue(
        &self,
        pending: &PendingDelivery,
        network_fault: NetworkFault,
    ) -> (Start, Option<Departure>) {
        if let NetworkFault::Delayed(delay) = network_fault {
            return (Start::After(delay), None);
        }
        let Some(account_id) = &pending.account_id else {
            return (Start::Now, None);
        };
        let mut lanes = lock(&self.lanes);
        let lane = lanes.entry(account_id.clone()).or_default();
        if network_fault == NetworkFault::Overtaken {
            return (Start::BehindNext(lane.next.subscribe()), None);
        }
        let (ahead, departure) = lane.enter();
        let start = ahead.map_or(Start::Now, Start::Behind);
        (start, Some(Arc::new(departure)))
    }

    async fn deliver(
        self: Arc<Self>,
        entry: usize,
        pending: Arc<PendingDelivery>,
        start: Start,
        departure: Option<Departure>,
    ) {
        self.wait_for(start).await;
        let mut delivered = self.post(entry, &pending).await;
        drop(departure);
        for wait in schedule::waits() {
            if delivered {
                break;
            }
            sleep(self.scaled(wait)).await;
            delivered = self.post(entry, &pending).await;
        }
        let outcome = if delivered { Outcome::Delivered } else { Outcome::GivenUp };
        self.log.close(entry, outcome);
    }

    async fn wait_for(&self, start: Start) {
        match start {
            Start::Now => {}
            Start::After(delay) => sleep(self.scaled(delay)).await,
            Start::Behind(ahead) => departed(ahead).await,
            Start::BehindNext(next) => {
                // If no next event comes, the timeout ends the wait.
                let _ = timeout(self.scaled(OVERTAKING_TIMEOUT), departed(next)).await;
            }
        }
    }

    /// A waiting time of Mono, divided by the time scale.
    pub(crate) fn scaled(&self, wait: Duration) -> Duration {
        // If the result is too large for a Duration, the wait never ends.
        Duration::try_from_secs_f64(wait.as_secs_f64() / self.time_scale).unwrap_or(Duration::MAX)
    }

    /// Makes one attempt. Returns whether the receiver has accepted it.
    async fn post(&self, entry: usize, pending: &PendingDelivery) -> bool {
        let attempt = match self.answer(pending).await {
            Ok(status) => Attempt::Status(status),
            Err(error) => Attempt::Error(innermost(&error)),
        };
        let accepted = attempt == Attempt::Status(200);
        self.log.record(entry, attempt);
        accepted
    }

    async fn answer(&self, pending: &PendingDelivery) -> reqwest::Result<u16> {
        let _permit = self.posts.acquire().await;
        let webhook = lock(&self.webhook).clone();
        let webhook = webhook.expect("deliveries are only dispatched if there is a webhook URL");
        let request = self
            .client
            .post(webhook.url)
            .headers(pending.headers(webhook.secret))
            .body(pending.body.clone());
        let response = request.send().await?;
        Ok(read_to_end(response).await)
    }
}

/// The status. The body is read because the connection is only reused after that.
async fn read_to_end(response: Response) -> u16 {
    let status = response.status().as_u16();
    let _ = response.bytes().await;
    status
}

fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The start of a delivery.
#[derive(Clone)]
enum Start {
    Now,
    After(Duration),
    /// After the first attempt of the previous delivery of the account.
    Behind(watch::Receiver<()>),
    /// After the first attempt of the next delivery of the account.
    BehindNext(watch::Receiver<()>),
}

/// Every copy of a delivery holds this until its first attempt has ended.
type Departure = Arc<watch::Sender<()>>;

/// The deliveries of one account, in their order.
#[derive(Default)]
struct Lane {
    last: Option<watch::Receiver<()>>,
    next: watch::Sender<()>,
}

impl Lane {
    fn enter(&mut self) -> (Option<watch::Receiver<()>>, watch::Sender<()>) {
        let departure = std::mem::take(&mut self.next);
        let ahead = self.last.replace(departure.subscribe());
        (ahead, departure)
    }
}

/// Returns when all holders of the departure have dropped it.
async fn departed(mut departure: watch::Receiver<()>) {
    while departure.changed().await.is_ok() {}
}
