//! Notifications to the fintech's systems when a record changes.
//!
//! A notification is derived from the record before and after one write. It contains no name, number, amount or
//! narration. A consumer reads these from the API. `syncing` is not notified: it ends by time, without a write. Only an
//! account that is known to be a [data link](Account::is_data_link) has notifications.

use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::domain::account::{Account, RowCounts, Status};
use crate::domain::account_id::AccountId;
use crate::domain::timestamp::Timestamp;

/// A notification as it is published, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notification {
    /// The same for each delivery of the same change: 32 hexadecimal digits.
    pub id: String,
    /// The [name](Change::name) of the change.
    #[serde(rename = "type")]
    pub name: &'static str,
    /// When the record was written.
    pub occurred_at: Timestamp,
    pub account_id: AccountId,
    /// The reference of the account's owner.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    #[serde(flatten)]
    pub change: Change,
}

/// A change of a record that is notified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Change {
    /// The account is new, or linked again after an unlinking.
    Linked {},
    /// Mono has confirmed that the account was unlinked.
    Unlinked {},
    /// The record is gone.
    Erased {},
    /// The account belongs to another owner.
    OwnerChanged {
        previous_ref: String,
    },
    /// The status changed. A new account begins as [`Status::Pending`].
    StatusChanged {
        from: Status,
        to: Status,
    },
    BalanceChanged {},
    /// An import has written rows, or has completed the history.
    TransactionsImported {
        added: u32,
        modified: u32,
        removed: u32,
        /// Whether the whole history window is stored.
        history_complete: bool,
    },
}

impl Change {
    /// The type of the notification.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Linked {} => "account.linked",
            Self::Unlinked {} => "account.unlinked",
            Self::Erased {} => "account.erased",
            Self::OwnerChanged { .. } => "account.owner_changed",
            Self::StatusChanged { .. } => "account.status_changed",
            Self::BalanceChanged {} => "account.balance_changed",
            Self::TransactionsImported { .. } => "account.transactions_imported",
        }
    }
}

/// One write to a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Identifies the write. It is the same on each delivery.
    pub id: String,
    pub at: Timestamp,
    /// `None`: there was no record.
    pub before: Option<Account>,
    /// `None`: the record was deleted.
    pub after: Option<Account>,
}

impl Write {
    /// The notifications of this write. The same write has the same notifications, with the same ids.
    pub fn notifications(&self) -> Vec<Notification> {
        let Some(account) = self.after.as_ref().or(self.before.as_ref()) else {
            return Vec::new();
        };
        let notification = |change: Change| {
            // An erasure is news for the former owner.
            let former = self.before.as_ref().filter(|_| matches!(change, Change::Erased {}));
            Notification {
                id: id(&self.id, change.name()),
                name: change.name(),
                occurred_at: self.at,
                account_id: account.id.clone(),
                reference: former.unwrap_or(account).owner().map(str::to_owned),
                change,
            }
        };
        changes(self.before.as_ref(), self.after.as_ref()).into_iter().map(notification).collect()
    }
}

/// The first half of a SHA-256. No two changes of one write have the same name.
fn id(write: &str, name: &str) -> String {
    let digest = Sha256::digest(format!("{write} {name}"));
    digest.iter().take(16).fold(String::new(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

fn changes(before: Option<&Account>, after: Option<&Account>) -> Vec<Change> {
    // The steps of an erasure are not notified, only its end.
    match (before, after) {
        (_, Some(Account { erasure: Some(_), .. })) => return Vec::new(),
        // Mono may have confirmed a new link at the end.
        (Some(Account { erasure: Some(_), .. }), after) => {
            return [Change::Erased {}].into_iter().chain(changes(None, after)).collect();
        }
        _ => {}
    }
    let before = before.filter(|account| account.is_data_link());
    let Some(after) = after.filter(|account| account.is_data_link()) else {
        return before.map(|_| Change::Erased {}).into_iter().collect();
    };
    let status = |account: &Account| account.status_without_sync().status;
    let (from, to) = (before.map(status), status(after));
    let was_linked = from.is_some_and(|from| from != Status::Unlinked);
    let is_linked = to != Status::Unlinked;
    let mut changes = Vec::new();
    if is_linked && !was_linked {
        changes.push(Change::Linked {});
    }
    if was_linked && !is_linked {
        changes.push(Change::Unlinked {});
    }
    if let Some(previous) = before.and_then(Account::owner)
        && after.owner() != Some(previous)
    {
        changes.push(Change::OwnerChanged { previous_ref: previous.to_owned() });
    }
    let from = from.unwrap_or(Status::Pending);
    if from != to {
        changes.push(Change::StatusChanged { from, to });
    }
    if before.and_then(Account::balance) != after.balance() {
        changes.push(Change::BalanceChanged {});
    }
    changes.extend(imported(before, after));
    changes
}

fn imported(before: Option<&Account>, after: &Account) -> Option<Change> {
    let rows_before = before.map(|before| before.written_rows).unwrap_or_default();
    let rows = after.written_rows.since(rows_before);
    let history_complete = after.has_complete_history();
    let is_completed = history_complete && !before.is_some_and(Account::has_complete_history);
    let RowCounts { added, modified, removed, .. } = rows;
    (rows != RowCounts::default() || is_completed).then_some(Change::TransactionsImported {
        added,
        modified,
        removed,
        history_complete,
    })
}

#[cfg(test)]
mod tests;
