//! The rules: the state of an account, the facts that change it, and the decisions that depend on it.

pub mod account;
pub mod account_id;
pub mod business_day;
pub mod caller;
pub mod change_feed;
pub mod circuit_breaker;
pub mod history;
pub mod import;
pub mod link_token;
pub mod money;
pub mod notification;
pub mod redirect_url;
pub mod refresh_job;
pub mod retention;
pub mod spending;
pub mod timestamp;
pub mod transaction;
pub mod webhook;
