//! `mono-sync status`: the accounts by status, and the messages in the queues.

use std::collections::BTreeMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use mono_sync::aws::sdk::AwsError;
use mono_sync::aws::store::Group;
use mono_sync::domain::account::Status;
use mono_sync::domain::account_id::AccountId;
use mono_sync::domain::timestamp::Timestamp;
use serde_json::{Value, json};

use crate::output::Output;
use crate::stack::Stack;
use crate::{Done, Result};

/// The number of records that one request reads.
const PAGE: usize = 500;

pub(crate) async fn show(stack: &Stack, output: Output) -> Result<Done> {
    let accounts = accounts(stack).await?;
    let sqs = stack.sqs();
    let mut queues = BTreeMap::new();
    for (name, url) in &stack.outputs {
        if let Some(name) = name.strip_suffix("QueueUrl") {
            queues.insert(name.to_owned(), depth(&sqs, url).await?);
        }
    }
    let is_letter = |(name, _): &(String, _)| name.ends_with("DeadLetter");
    let (dead_letters, queues): (BTreeMap<_, _>, _) = queues.into_iter().partition(is_letter);
    output.print(&json!({
        "accounts": accounts,
        "messages": queues,
        "dead_letters": dead_letters,
    }))?;
    Ok(Done::All)
}

/// Reads all records.
async fn accounts(stack: &Stack) -> Result<Value> {
    let store = stack.startup.accounts()?;
    let (now, policy) = (Timestamp::now(), store.policy());
    let mut by_status: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut never_synced, mut erasing) = (0_u64, 0_u64);
    let mut oldest: Option<(Timestamp, AccountId)> = None;
    let mut after = None;
    loop {
        let page = store.list(Group::All, PAGE, after.as_ref()).await?;
        for account in page.items {
            if account.erasure.is_some() {
                erasing += 1;
                continue;
            }
            let view = account.view(now, policy);
            *by_status.entry(view.status.as_str()).or_default() += 1;
            // The data of an unlinked account stays old.
            if view.status == Status::Unlinked {
                continue;
            }
            let Some(at) = view.last_synced_at else {
                never_synced += 1;
                continue;
            };
            if oldest.as_ref().is_none_or(|(oldest, _)| at < *oldest) {
                oldest = Some((at, account.id));
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(json!({
        "by_status": by_status,
        "erasing": erasing,
        "never_synced": never_synced,
        "oldest_sync": oldest.as_ref().map(|(at, _)| at),
        "account_with_oldest_sync": oldest.as_ref().map(|(_, id)| id),
    }))
}

/// The messages that wait, are being processed, or are delayed. SQS counts approximately.
async fn depth(sqs: &Client, url: &str) -> Result<u64> {
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        QueueAttributeName::ApproximateNumberOfMessagesDelayed,
    ];
    let request = sqs.get_queue_attributes().queue_url(url);
    let request = request.set_attribute_names(Some(names.to_vec()));
    let attributes = request.send().await.map_err(AwsError::new)?.attributes.unwrap_or_default();
    let count = |name| attributes.get(name).and_then(|count| count.parse::<u64>().ok());
    Ok(names.iter().filter_map(count).sum())
}
