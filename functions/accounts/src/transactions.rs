//! `GET /accounts/{account_id}/transactions` and `…/changes`: the transactions of an account, and their changes.

use lambda_http::{Body, Request, Response};
use mono_sync::aws::store::Selection;
use mono_sync::domain::business_day::BusinessDay;
use mono_sync::domain::caller::Caller;
use mono_sync::domain::change_feed::{Cursor, FeedPage};
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::domain::transaction::{Direction, Transaction};
use mono_sync::http::account::unavailable;
use mono_sync::http::problem::Problem;
use mono_sync::http::request::{account_id, amount, choice, cursor, limit, text, time};
use mono_sync::http::response;
use serde_json::json;

use crate::handler::{Accounts, DEFAULT_LIMIT};

/// The most transactions on a page. Transactions are small, and callers often read a month of them.
const MOST: usize = 500;
/// The default number of changes on a page.
const DEFAULT_CHANGES: usize = 100;
/// The longest `category`, in bytes.
const LONGEST_CATEGORY: usize = 256;

impl Accounts {
    pub(crate) async fn transactions(
        &self,
        request: &Request,
        caller: &Caller,
        request_id: &str,
    ) -> Result<Response<Body>, Problem> {
        let selection = selection(request)?;
        let limit = limit(request, DEFAULT_LIMIT, MOST)?;
        let before = cursor(request)?;
        let account = self.read(request, caller, request_id).await?;
        let now = Timestamp::now();
        let page = self.transactions.page(&account.id, &selection, limit, before, now).await;
        let page = page.map_err(|error| unavailable(request_id, Some(&account.id), &error))?;
        let rows = page.items.iter().map(|transaction| transaction.view(&account));
        Ok(response::ok(&json!({
            "transactions": rows.collect::<Vec<_>>(),
            "next_cursor": page.next.map(|next| next.to_string()),
        })))
    }

    /// One consistent read of the account, and one query unless the cursor is at the end of the feed.
    pub(crate) async fn changes(
        &self,
        request: &Request,
        caller: &Caller,
        request_id: &str,
    ) -> Result<Response<Body>, Problem> {
        let limit = limit(request, DEFAULT_CHANGES, MOST)?;
        let given: Option<Cursor> = cursor(request)?;
        let now = Timestamp::now();
        let id = account_id(request)?;
        let account = self.read(request, caller, request_id).await?;
        let reset = given.is_some_and(|cursor| account.resets(cursor, now));
        let cursor = given.filter(|_| !reset).unwrap_or(Cursor::beginning(now));
        let visible = account.visible_revision(now);
        let entries = self.transactions.changes(&id, cursor.position(), visible, limit, now).await;
        let entries = entries.map_err(|error| unavailable(request_id, Some(&id), &error))?;
        let page = FeedPage::new(cursor, entries.items, entries.next, visible, now);
        let views = |rows: &[Transaction]| {
            rows.iter().map(|row| json!(row.view(&account))).collect::<Vec<_>>()
        };
        let removed = page.removed.iter().map(|id| json!({ "id": id }));
        Ok(response::ok(&json!({
            "added": views(&page.added),
            "modified": views(&page.modified),
            "removed": removed.collect::<Vec<_>>(),
            "next_cursor": page.next.to_string(),
            "has_more": page.has_more,
            "reset": reset,
        })))
    }
}

fn selection(request: &Request) -> Result<Selection, Problem> {
    let selection = Selection {
        from: time(request, "from", BusinessDay::begins_at)?,
        to: time(request, "to", BusinessDay::ends_at)?,
        direction: choice(request, "type", "debit or credit", &Direction::WORDS)?,
        category: text(request, "category", LONGEST_CATEGORY)?,
        min_amount: amount(request, "min_amount")?,
        max_amount: amount(request, "max_amount")?,
    };
    let Selection { from, to, min_amount, max_amount, .. } = &selection;
    if from.zip(*to).is_some_and(|(from, to)| from > to) {
        return Err(Problem::request_invalid("from", "no later than `to`"));
    }
    if min_amount.zip(*max_amount).is_some_and(|(least, most)| least.0 > most.0) {
        return Err(Problem::request_invalid("min_amount", "no more than `max_amount`"));
    }
    Ok(selection)
}
