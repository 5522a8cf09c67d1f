//! Runs mono-sync on this machine, without AWS: the emulator, the deployed template, and the tools of
//! the end-to-end tests and of the demonstration (`make run`).

pub mod contract_proxy;
pub mod dynamodb_json;
pub mod emulator;
pub mod identity;
pub mod notifications;
pub mod openapi;
pub mod past;
mod peer;
pub mod process;
pub mod proxy;
mod queue_policy;
mod roles;
pub mod samples;
pub mod shared_stack;
pub mod stack;
pub mod subscription;
mod upstream;
pub mod web_example;
pub mod yaml;

use std::path::{Path, PathBuf};

/// The root of the project.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap_or_default()
}
