//! What the functions of mono-sync share.
//!
//! The domain is pure — no AWS types, no I/O, no clock: [`event`] reads what Mono sends,
//! [`account`] is the record and its rules, [`history`] what
//! happened to it, [`caller`] who may see it, [`secret`] and [`webhook_body`] decide what is let in,
//! [`breaker`] when Mono is left alone, [`spending`] what calls to it cost, and [`account_id`], [`money`] and [`timestamp`] are the values they are made
//! of.
//!
//! The rest are thin adapters: [`mono`] to Mono's API, [`store`] to DynamoDB, [`queue`] and [`batch`]
//! to SQS, [`stored_secret`] and [`secret_cache`] to Secrets Manager, [`api`], [`request`] and [`problem`] to
//! HTTP,
//! [`config`], [`invocation`], [`aws`] and [`telemetry`] to Lambda. [`sync`] is what brings `mono`
//! and `store` together.

pub mod account;
pub mod account_id;
pub mod api;
pub mod aws;
pub mod batch;
pub mod breaker;
pub mod business_day;
pub mod caller;
pub mod config;
pub mod event;
pub mod history;
pub mod import;
pub mod importer;
pub mod invocation;
pub mod money;
pub mod mono;
pub mod problem;
pub mod queue;
pub mod random;
pub mod refresh_job;
pub mod request;
pub mod response;
pub mod secret;
pub mod secret_cache;
pub mod spending;
pub mod startup;
pub mod store;
pub mod stored_secret;
pub mod sync;
pub mod telemetry;
pub mod timestamp;
pub mod transaction;
pub mod webhook_body;
