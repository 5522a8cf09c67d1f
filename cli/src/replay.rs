//! `mono-sync replay`: moves dead letters back to the queue that they came from.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use clap::{Args, ValueEnum};
use futures_util::stream::{self, StreamExt};
use mono_sync::aws::queues::{ENCODING, REASON, RECEIVED_AT};
use mono_sync::aws::sdk::{AwsError, error_chain};
use mono_sync::domain::account_id::AccountId;
use mono_sync::domain::timestamp::Timestamp;
use serde_json::json;

use crate::output::{Output, line};
use crate::stack::Stack;
use crate::{Done, Result};

#[derive(Args)]
pub(crate) struct Options {
    /// The queue whose dead letters are replayed
    #[arg(value_enum)]
    queue: Queue,
    /// Only dead letters about this account
    #[arg(long)]
    account: Option<AccountId>,
    /// Only dead letters at least this old, such as 2h or 3days
    #[arg(long, value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Only dead letters at most this old
    #[arg(long, value_parser = humantime::parse_duration)]
    newer_than: Option<Duration>,
    /// Move the dead letters. Otherwise they are only shown
    #[arg(long)]
    execute: bool,
}

/// The queues with dead letters that can be replayed. The dead letters of the notifier cannot be moved to a queue,
/// because they belong to a stream.
#[derive(Clone, Copy, ValueEnum)]
enum Queue {
    Webhook,
    Import,
    Refresh,
    Notification,
    Forward,
}

impl Queue {
    const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "Webhook",
            Self::Import => "Import",
            Self::Refresh => "Refresh",
            Self::Notification => "Notification",
            Self::Forward => "Forward",
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the stack has no output {0}")]
struct MissingOutput(String);

/// How long a letter is hidden while this program runs, in seconds. Letters that are not moved become visible at the
/// end.
const HIDDEN: i32 = 900;
/// The number of letters after which no more are read. They can be moved while they are hidden, and SQS hides at most
/// 120,000.
const MOST: usize = 10_000;
/// The number of concurrent requests.
const CONCURRENCY: usize = 8;
/// After this many empty answers in a row, the whole queue counts as read.
const EMPTY_ANSWERS: u32 = 3;

pub(crate) async fn run(stack: &Stack, options: &Options, output: Output) -> Result<Done> {
    let name = options.queue.name();
    let url = |output: String| {
        let found = stack.outputs.iter().find(|(name, _)| *name == output);
        found.map(|(_, url)| url.clone()).ok_or(MissingOutput(output))
    };
    let (queue, letters) =
        (url(format!("{name}QueueUrl"))?, url(format!("{name}DeadLetterQueueUrl"))?);
    let letters = DeadLetters { sqs: stack.sqs(), queue, letters };
    let now = Timestamp::now();
    let all = letters.read().await?;
    let (total, has_more) = (all.len(), all.len() >= MOST);
    let (matching, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|letter| options.matches(letter, now));
    letters.show_again(&others).await;
    matching.iter().try_for_each(|letter| show(letter, output))?;
    let mut moved = 0;
    if options.execute {
        let mut results = stream::iter(&matching)
            .map(|letter| letters.put_back(letter))
            .buffer_unordered(CONCURRENCY);
        while let Some(result) = results.next().await {
            match result {
                Ok(()) => moved += 1,
                Err(error) => eprintln!("dead letter could not be moved: {}", error_chain(&*error)),
            }
        }
    } else {
        letters.show_again(&matching).await;
    }
    output.print(&json!({
        "dead_letters": total,
        "has_more": has_more,
        "matching": matching.len(),
        "moved": moved,
    }))?;
    if !options.execute && !matching.is_empty() && !output.json {
        println!("Nothing was moved. Add --execute to move the dead letters.");
    }
    let is_all = !has_more && (!options.execute || moved == matching.len());
    Ok(if is_all { Done::All } else { Done::Partly })
}

impl Options {
    fn matches(&self, message: &Message, now: Timestamp) -> bool {
        let age = received_at(message).map_or(Duration::ZERO, |at| now.since(at));
        // Ids are random, so a text with this id is about the account.
        self.account.as_ref().is_none_or(|id| text(message).contains(id.as_str()))
            && self.older_than.is_none_or(|least| age >= least)
            && self.newer_than.is_none_or(|most| age <= most)
    }
}

/// A dead-letter queue, and the queue that its messages came from.
struct DeadLetters {
    sqs: Client,
    queue: String,
    letters: String,
}

impl DeadLetters {
    /// Reads all letters before one is moved. Otherwise a moved letter that fails again would be read again.
    async fn read(&self) -> Result<Vec<Message>> {
        let (mut letters, mut empty) = (HashMap::new(), 0);
        while empty < EMPTY_ANSWERS && letters.len() < MOST {
            let messages = self.receive().await?;
            empty = if messages.is_empty() { empty + 1 } else { 0 };
            // Only the newest receipt handle of a message is valid.
            letters.extend(messages.into_iter().map(|letter| (letter.message_id.clone(), letter)));
        }
        Ok(letters.into_values().collect())
    }

    async fn receive(&self) -> Result<Vec<Message>> {
        let receive = self.sqs.receive_message().queue_url(&self.letters);
        let receive = receive
            .max_number_of_messages(10)
            .visibility_timeout(HIDDEN)
            .wait_time_seconds(1)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
        let answer = receive.send().await.map_err(AwsError::new)?;
        Ok(answer.messages.unwrap_or_default())
    }

    /// Sends the message to its queue before it deletes the letter. After a crash in between, the message is sent
    /// again. This does no harm, because every consumer is idempotent.
    async fn put_back(&self, message: &Message) -> Result<()> {
        let mut send = self.sqs.send_message().queue_url(&self.queue);
        send = send.message_body(message.body.as_deref().unwrap_or_default());
        let mut attributes = message.message_attributes.clone().unwrap_or_default();
        attributes.remove(REASON);
        let send = send.set_message_attributes(Some(attributes));
        send.send().await.map_err(AwsError::new)?;
        let delete = self.sqs.delete_message().queue_url(&self.letters);
        let delete = delete.set_receipt_handle(message.receipt_handle.clone());
        delete.send().await.map_err(AwsError::new)?;
        Ok(())
    }

    /// Makes letters visible again. If that fails, they become visible after [`HIDDEN`].
    async fn show_again(&self, messages: &[Message]) {
        let show = async |message: &Message| {
            let change = self.sqs.change_message_visibility().queue_url(&self.letters);
            let change = change.set_receipt_handle(message.receipt_handle.clone());
            let _ = change.visibility_timeout(0).send().await;
        };
        stream::iter(messages).map(show).buffer_unordered(CONCURRENCY).collect::<()>().await;
    }
}

/// Prints what an operator needs, and nothing of the content.
fn show(message: &Message, output: Output) -> Result<()> {
    let letter = json!({
        "message_id": message.message_id,
        "received_at": received_at(message),
        "reason": attribute(message, REASON),
        "bytes": message.body.as_ref().map_or(0, String::len),
    });
    if output.json {
        line(&letter)?;
    } else {
        let field = |name: &str| letter[name].as_str().unwrap_or("-").to_owned();
        println!("{}  {}  {}", field("message_id"), field("received_at"), field("reason"));
    }
    Ok(())
}

/// When the webhook was received, or else when SQS accepted the message.
fn received_at(message: &Message) -> Option<Timestamp> {
    let sent = message.attributes.as_ref()?.get(&MessageSystemAttributeName::SentTimestamp);
    let sent = || sent?.parse().ok().map(Timestamp::from_millis);
    attribute(message, RECEIVED_AT).and_then(Timestamp::parse_rfc3339).or_else(sent)
}

/// The body, decoded if it is encoded.
fn text(message: &Message) -> String {
    let body = message.body.as_deref().unwrap_or_default();
    let decoded = attribute(message, ENCODING)
        .and_then(|_| String::from_utf8(aws_smithy_types::base64::decode(body).ok()?).ok());
    decoded.unwrap_or_else(|| body.to_owned())
}

fn attribute<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.message_attributes.as_ref()?.get(name)?.string_value.as_deref()
}
