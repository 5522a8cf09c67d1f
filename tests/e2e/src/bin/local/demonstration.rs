//! Demonstrates the main job step by step on real input. Each step prints what happens, does it, and
//! fails if the outcome differs.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use e2e::emulator::REGION;
use e2e::past;
use e2e::samples::{self, LOCAL_SECRET};
use e2e::subscription::Subscription;
use e2e::web_example::WebExample;
use mono_sync::domain::refresh_job::RefreshJob;
use mono_sync::domain::timestamp::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::{Local, Result, expect, interrupted, start};

/// Shows all steps. Then it stays up, unless `once` is set.
pub(crate) async fn run(once: bool, port: Option<u16>) -> Result<()> {
    let local = start(port).await?;
    let (sdk, bus) = (local.stack.sdk(), local.stack.output("EventBusName"));
    let all = json!({ "source": ["mono-sync"] });
    let consumer = Subscription::new(&sdk, bus, "demonstration", &all).await;
    let demonstration = Demonstration(local, consumer);
    let account_id = tokio::select! {
        account_id = demonstration.show() => account_id?,
        stopped = interrupted() => {
            stopped?;
            return Err("stopped before the end".into());
        }
    };
    println!("\nEvery step succeeded.");
    if once {
        return Ok(());
    }
    let Local { stack, web_port, .. } = &demonstration.0;
    let web = WebExample::start(stack, *web_port, "customer-4711").await?;
    demonstration.print_commands_to_try(&account_id, web.url());
    interrupted().await
}

/// The local setup, and a consumer of its event bus.
struct Demonstration(Local, Subscription);

impl Demonstration {
    async fn show(&self) -> Result<String> {
        let (account, old_event) = self.follow_an_account().await?;
        let account_id = account["account_id"].as_str().ok_or("there is no account")?;
        self.show_notifications(account_id).await?;
        self.sync_on_demand(account_id, &account).await?;
        self.show_history(account_id, &old_event).await?;
        let other = self.refresh_after_lost_webhooks().await?;
        self.adopt_older_links().await?;
        self.unlink_and_erase(account_id).await?;
        Ok(other)
    }

    /// Shows the effects of Mono's webhooks. Returns the account at the end, and the id of the late event.
    async fn follow_an_account(&self) -> Result<(Value, Value)> {
        step(1, "A customer links an account. Mono calls the webhook, and a record appears.");
        let account_id = self.link_on_the_page_of_mono("customer-4711").await?;
        let linked = self.until_status(&account_id, "healthy").await?;
        self.show_webhooks(0).await?;
        println!("\n   GET /accounts/{account_id}\n{}", indented(&linked));

        step(2, "The pull brought transactions: they are imported, each row once.");
        let imported = self
            .account_when(&account_id, "an import", |account| {
                account["transactions_imported_at"].is_string()
            })
            .await?;
        for field in ["transactions_imported_at", "transactions_through"] {
            println!("   {field:<28} {}", imported[field]);
        }
        self.show_transactions(&account_id).await?;
        let page = self.show_changes(&account_id, "").await?;
        let cursor = page["next_cursor"].as_str().ok_or("there is no cursor")?;

        step(3, "A request to the webhook without the secret is refused.");
        let forged = self.0.stack.request(Method::POST, "/webhooks/mono").body("{}");
        let refusal = forged.send().await?;
        expect(refusal.status() == 401, "the request is refused")?;
        println!("   {} {}", refusal.status(), refusal.json::<Value>().await?["code"]);

        step(4, "Mono sends an old event three times. It cannot overwrite newer data.");
        let before = self.count_webhooks().await?;
        let events = format!("accounts/{account_id}/events");
        let old = json!({
            "event": "account_updated_reauthorisation_required",
            "timestamp": "2026-01-01T00:00:00.000Z",
            "network_fault": { "duplicated": 3 },
        });
        let sent = self.0.mono.post(&events, &old).await?;
        self.show_webhooks(before).await?;
        let event_id = sent["body"]["event_id"].as_str().ok_or("the event has no id")?;
        self.until_processed(event_id, 3).await?;
        let unmoved = self.until_status(&account_id, "healthy").await?;
        print_status(&unmoved);
        expect(unmoved["status_at"] == linked["status_at"], "the old event has changed nothing")?;

        step(
            5,
            "During a refresh, the bank asks for an OTP. The account shows that its data is old.",
        );
        let before = self.count_webhooks().await?;
        let outcome = json!({ "outcome": "reauthorisation_required" });
        self.0.mono.post(&format!("accounts/{account_id}/refresh"), &outcome).await?;
        let waiting = self.until_status(&account_id, "reauthorisation_required").await?;
        self.show_webhooks(before).await?;
        print_status(&waiting);
        let stale = waiting["last_synced_at"] == linked["last_synced_at"];
        expect(stale, "the time of the last sync has not changed")?;

        step(
            6,
            "Your app lists accounts that need attention, and sends the customer to Mono's page.",
        );
        for filter in ["status=reauthorisation_required", "ref=customer-4711"] {
            let list = self.get(&format!("/accounts?{filter}")).await?;
            let listed =
                list["accounts"].as_array().is_some_and(|accounts| accounts.contains(&waiting));
            expect(listed, "the account is listed")?;
        }
        let reauthorisation = self.reauthorise(&account_id).await?;
        println!("   status                       {}", reauthorisation["status"]);
        println!("   url                          {}", reauthorisation["url"]);
        println!("   The customer authenticates. Only new data makes the account healthy.");
        let before = self.count_webhooks().await?;
        self.0.mono.post(&format!("accounts/{account_id}/reauthorise"), &json!({})).await?;
        let recovered = self.until_status(&account_id, "healthy").await?;
        self.show_webhooks(before).await?;
        print_status(&recovered);
        let fresh = recovered["last_synced_at"].as_str() > linked["last_synced_at"].as_str();
        expect(fresh, "the last sync is newer")?;

        step(
            7,
            "A refresh brings new data. The bank has also changed, moved and removed transactions.",
        );
        let before = self.count_webhooks().await?;
        self.change_transactions_at_the_bank(&account_id).await?;
        let outcome = json!({ "outcome": "new_data" });
        self.0.mono.post(&format!("accounts/{account_id}/refresh"), &outcome).await?;
        let refreshed = self
            .account_when(&account_id, "a new balance", |account| {
                account["balance"] != recovered["balance"]
            })
            .await?;
        self.show_webhooks(before).await?;
        println!("\n   GET /accounts/{account_id}\n{}", indented(&refreshed));
        expect(refreshed["status"] == "healthy", "the account is healthy")?;
        self.account_when(&account_id, "an import", |account| {
            account["transactions_imported_at"] == refreshed["last_synced_at"]
        })
        .await?;
        let page = self.show_changes(&account_id, cursor).await?;
        let count = |list: &str| page[list].as_array().map_or(0, Vec::len);
        expect(count("modified") >= 2 && count("removed") == 1, "the feed has the bank's changes")?;
        Ok((refreshed, sent["body"]["event_id"].clone()))
    }

    /// Prints what a consumer of the event bus has received about the account.
    async fn show_notifications(&self, account_id: &str) -> Result<()> {
        step(8, "Your systems have received a notification of each change. No bank data is in it.");
        let about = |event: &Value| event["detail"]["account_id"] == account_id;
        let is_balance = |event: &Value| event["detail-type"] == "account.balance_changed";
        // The new balance of the last step.
        let events = self.1.take_until(|events| {
            events.iter().filter(|event| about(event) && is_balance(event)).count() > 1
        });
        for event in events.await.iter().filter(|event| about(event)) {
            let name = event["detail-type"].as_str().unwrap_or_default();
            let fields: Vec<_> = ["from", "to", "added", "modified", "removed", "history_complete"]
                .iter()
                .filter(|field| !event["detail"][**field].is_null())
                .map(|field| format!("{field} {}", event["detail"][*field]))
                .collect();
            let line = format!("   {name:<32} {}", fields.join(", ").replace('"', ""));
            println!("{}", line.trim_end());
        }
        Ok(())
    }

    async fn sync_on_demand(&self, account_id: &str, account_before: &Value) -> Result<()> {
        step(9, "Your app asks for a sync. Mono fetches new data, and charges for it.");
        let before = self.count_webhooks().await?;
        let answer = self.sync(account_id, 200, "SYNC_SUCCESSFUL").await?;
        expect(answer["has_new_data"] == true, "there is new data")?;
        let synced = self
            .account_when(account_id, "a new balance", |account| {
                account["balance"] != account_before["balance"]
            })
            .await?;
        self.show_webhooks(before).await?;
        print_status(&synced);
        expect(self.0.mono.begun_syncs(account_id).await? == 1, "Mono was called once")?;

        step(10, "The new transactions are imported. Existing rows are not written again.");
        self.account_when(account_id, "the import", |account| {
            account["transactions_imported_at"] == synced["last_synced_at"]
        })
        .await?;
        self.show_transactions(account_id).await?;

        step(
            11,
            "A second sync request during the cooldown is refused. Mono is not called and charges nothing.",
        );
        let answer = self.sync(account_id, 429, "SYNC_COOLDOWN").await?;
        println!("   next_allowed_at              {}", answer["next_allowed_at"]);
        expect(self.0.mono.begun_syncs(account_id).await? == 1, "Mono was not called again")?;

        step(
            12,
            "The customer links a second account. Its bank requires an OTP before Mono can sync.",
        );
        let before = self.count_webhooks().await?;
        let other = self.link(&json!({ "ref": "customer-4711" })).await?;
        self.until_status(&other, "healthy").await?;
        let plan = json!([{ "outcome": "reauthorisation_required", "reauth_signal": "code" }]);
        self.0.mono.put(&format!("accounts/{other}/plans"), &plan).await?;
        let answer = self.sync(&other, 409, "REAUTHORISATION_REQUIRED").await?;
        println!("   reauthorise                  {}", answer["reauthorise"]);
        print_status(&self.until_status(&other, "reauthorisation_required").await?);
        let list = self.get("/accounts?ref=customer-4711").await?;
        let accounts = list["accounts"].as_array().ok_or("there is no list")?;
        for account in accounts {
            println!("   {}   {}", account["account_id"], account["status"]);
        }
        let statuses: BTreeSet<_> = accounts.iter().map(|one| one["status"].as_str()).collect();
        let expected = BTreeSet::from([Some("healthy"), Some("reauthorisation_required")]);
        expect(statuses == expected, "both accounts of the customer are listed")?;
        self.0.mono.post(&format!("accounts/{other}/reauthorise"), &json!({})).await?;
        let recovered = self.until_status(&other, "healthy").await?;
        self.show_webhooks(before).await?;
        print_status(&recovered);

        Ok(())
    }

    async fn show_history(&self, account_id: &str, old_event: &Value) -> Result<()> {
        step(13, "The history of the first account, newest first.");
        let history = self.get(&format!("/accounts/{account_id}/events")).await?;
        let events = history["events"].as_array().ok_or("there is no history")?;
        for event in events {
            let text = |field: &str| event[field].as_str().unwrap_or("-").to_owned();
            println!(
                "   {}  {:<22} {:<10} {} -> {}",
                text("occurred_at"),
                text("kind"),
                text("effect"),
                text("status_before"),
                text("status_after"),
            );
        }
        let mut late = events.iter().filter(|event| event["event_id"] == *old_event);
        let unmoved = late.all(|event| event["status_after"] == "healthy");
        expect(
            unmoved && events.len() > 9,
            "the history is complete, and the old event has changed no status",
        )?;
        Ok(())
    }

    /// Runs the automatic refresh once. Its schedule runs it every hour.
    async fn refresh_after_lost_webhooks(&self) -> Result<String> {
        step(
            14,
            "The last event of another customer's account is a day old. All webhooks are lost.",
        );
        let link = json!({ "ref": "customer-4712", "silent": true });
        let account_id = self.link(&link).await?;
        let a_day_ago = Timestamp::now() - Duration::from_hours(25);
        let last = json!({ "event": "account_updated", "timestamp": a_day_ago });
        self.0.mono.post(&format!("accounts/{account_id}/events"), &last).await?;
        self.0.mono.put("network", &json!({ "lose": 1.0 })).await?;
        let stale = self.until_status(&account_id, "healthy").await?;
        println!("   last_synced_at               {}", stale["last_synced_at"]);
        println!("   next_refresh_at              {}", stale["next_refresh_at"]);

        step(15, "The hourly planner finds the overdue account, and the worker syncs it.");
        let before = self.count_webhooks().await?;
        let plan = self.0.stack.plan_refresh().await?;
        println!("   refresh-planner   {plan}");
        expect(plan["scheduled"] == 1, "one account was due")?;
        let healed = self
            .account_when(&account_id, "a new sync", |account| {
                account["last_synced_at"].as_str() > stale["last_synced_at"].as_str()
            })
            .await?;
        self.show_webhooks(before).await?;
        print_status(&healed);
        println!("   next_refresh_at              {}", healed["next_refresh_at"]);
        self.account_when(&account_id, "an import", |account| {
            account["transactions_imported_at"] == healed["last_synced_at"]
        })
        .await?;
        self.show_transactions(&account_id).await?;
        expect(self.0.mono.begun_syncs(&account_id).await? == 1, "Mono was called once")?;
        self.0.mono.put("network", &json!({})).await?;
        Ok(account_id)
    }

    /// Adopts accounts that were linked at Mono before the stack was deployed.
    async fn adopt_older_links(&self) -> Result<()> {
        step(
            16,
            "200 accounts were linked at Mono before the stack. The command-line tool adopts them.",
        );
        for _ in 0..200 {
            self.link(&json!({ "silent": true })).await?;
        }
        self.tool(&["adopt", "--transactions", "--dry-run"]).await?;
        let adopted = self.tool(&["adopt"]).await?;
        expect(adopted["accounts"]["created"] == 200, "200 records are created")?;
        let again = self.tool(&["adopt"]).await?;
        expect(again["accounts"]["unchanged"] == 203, "a second run writes nothing")?;
        self.tool(&["status"]).await.map(drop)
    }

    async fn unlink_and_erase(&self, account_id: &str) -> Result<()> {
        step(17, "The first customer leaves. Your app ends the link, also at Mono.");
        let path = format!("/accounts/{account_id}/unlink");
        self.change(Method::POST, &path, 200).await?;
        print_status(&self.until_status(account_id, "unlinked").await?);

        step(18, "The customer asks for erasure. From then on, the API answers 404 for it.");
        let path = format!("/accounts/{account_id}");
        self.change(Method::DELETE, &path, 202).await?;
        let (status, _) = self.0.stack.account(account_id).await?;
        println!("   GET {path}   {status}");
        expect(status == 404, "the account is not found")?;
        println!(
            "   The deletion begins five minutes later. Here, the record is moved into the past."
        );
        // The worker has begun the erasure. Its message that continues it is still delayed.
        self.until_logged("refresh-worker", "\"erasing\"", 1).await?;
        past::let_time_pass(&self.0.stack, account_id, Duration::from_mins(6)).await;
        let job = RefreshJob::erasure(account_id.parse()?).to_body();
        self.0.stack.invoke("RefreshWorkerFunction", &samples::batch(&[job])).await?;
        let left = self.items_about(account_id).await?;
        println!("   Items with the account in all tables: {left}");
        expect(left == 0, "nothing is left")
    }

    /// Runs the command-line tool, and prints its answer.
    async fn tool(&self, arguments: &[&str]) -> Result<Value> {
        println!("   mono-sync {}", arguments.join(" "));
        let program = std::env::current_exe()?.with_file_name("mono-sync");
        let mut command = Command::new(program);
        command.arg("--json").args(arguments).envs(self.environment());
        let output = command.output().await?;
        let answer = serde_json::from_slice(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        expect(output.status.success(), &format!("the tool succeeds: {error}"))?;
        let answer: Value = answer?;
        for (name, value) in answer.as_object().into_iter().flatten() {
            println!("   {name:<28} {value}");
        }
        Ok(answer)
    }

    /// The environment of AWS tools for the embedded AWS.
    fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.0.stack.endpoint().to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_SESSION_TOKEN", String::new()),
        ]
    }

    async fn items_about(&self, account_id: &str) -> Result<usize> {
        let client = Client::new(&self.0.stack.sdk());
        let mut left = 0;
        for table in ["AccountsTableName", "TransactionsTableName", "EventsTableName"] {
            let scan = client.scan().table_name(self.0.stack.output(table));
            let mut items = scan.into_paginator().items().send();
            while let Some(item) = items.next().await {
                left += usize::from(format!("{:?}", item?).contains(account_id));
            }
        }
        Ok(left)
    }

    /// Prints the newest transactions, and checks all of them against Mono's.
    async fn show_transactions(&self, account_id: &str) -> Result<()> {
        let path = format!("/accounts/{account_id}/transactions?limit=500");
        let answer = self.get(&path).await?;
        let rows = answer["transactions"].as_array().ok_or("there are no transactions")?;
        for row in rows.iter().take(4) {
            let text = |field: &str| row[field].as_str().unwrap_or("-").to_owned();
            println!(
                "   {}  {:<6} {:>9} {}  {:<40} {}",
                text("date"),
                text("type"),
                row["amount"],
                text("currency"),
                text("narration"),
                text("category"),
            );
        }
        println!("   … {} in all", rows.len());
        let at_mono = self.0.mono.transactions(account_id).await?;
        let ids =
            |rows: &[Value]| rows.iter().map(|row| row["id"].to_string()).collect::<BTreeSet<_>>();
        let same = rows.len() == at_mono.len() && ids(rows) == ids(&at_mono);
        expect(same, "the transactions are Mono's, each once")
    }

    /// Changes one of the newest transactions, moves another, and removes a third.
    async fn change_transactions_at_the_bank(&self, account_id: &str) -> Result<()> {
        let mut rows = self.0.mono.transactions(account_id).await?;
        expect(rows.len() > 3, "the bank has transactions")?;
        let path = |row: &Value| {
            let id = row["id"].as_str().unwrap_or_default();
            format!("accounts/{account_id}/transactions/{id}")
        };
        rows[0]["narration"] = json!("CORRECTED BY THE BANK");
        rows[1]["date"] = rows[3]["date"].clone();
        for row in &rows[..2] {
            self.0.mono.put(&path(row), row).await?;
        }
        self.0.mono.delete(&path(&rows[2])).await
    }

    /// Prints how many transactions have changed since a cursor. Returns the page.
    async fn show_changes(&self, account_id: &str, cursor: &str) -> Result<Value> {
        let after = if cursor.is_empty() { String::new() } else { format!("&cursor={cursor}") };
        let path = format!("/accounts/{account_id}/transactions/changes?limit=500{after}");
        let page = self.get(&path).await?;
        let count = |list: &str| page[list].as_array().map_or(0, Vec::len);
        let [added, modified, removed] = ["added", "modified", "removed"].map(count);
        println!("   added {added}, modified {modified}, removed {removed}");
        expect(added > 0 && page["has_more"] == false, "the feed has the new rows")?;
        Ok(page)
    }

    /// The API's answer to a signed GET request.
    async fn get(&self, path: &str) -> Result<Value> {
        let request = self.0.stack.request(Method::GET, path).header("authorization", "signed");
        let answer = request.send().await?;
        println!("   GET {path}   {}", answer.status());
        expect(answer.status() == 200, "the API answers 200")?;
        Ok(answer.json().await?)
    }

    async fn reauthorise(&self, account_id: &str) -> Result<Value> {
        let path = format!("/accounts/{account_id}/reauthorise");
        let request = self.0.stack.request(Method::POST, &path).header("authorization", "signed");
        let request = request.json(&json!({ "redirect_url": "https://app.example/done" }));
        let answer = request.send().await?;
        println!("   POST {path}   {}", answer.status());
        expect(answer.status() == 200, "the API returns a link")?;
        Ok(answer.json().await?)
    }

    /// Requests Mono's page, on which the customer then logs in at the bank.
    async fn link_on_the_page_of_mono(&self, reference: &str) -> Result<String> {
        let customer = json!({ "name": "Adaeze Fictional", "email": "adaeze@example.com" });
        let redirect_url = "https://app.example/done";
        let link = json!({ "ref": reference, "customer": customer, "redirect_url": redirect_url });
        let request =
            self.0.stack.request(Method::POST, "/links").header("authorization", "signed");
        let answer = request.json(&link).send().await?;
        println!("   POST /links   {}", answer.status());
        expect(answer.status() == 201, "the API returns a page")?;
        let answer: Value = answer.json().await?;
        println!("   url                          {}", answer["url"]);
        let page = answer["url"].as_str().and_then(|url| url.rsplit('/').next());
        let page = format!("links/{}", page.ok_or("there is no page")?);
        let linked = self.0.mono.post(&page, &json!({ "balance": 2_296_700 })).await?;
        Ok(linked["account_id"].as_str().ok_or("the sandbox linked no account")?.to_owned())
    }

    /// Changes an account as the fintech's app does.
    async fn change(&self, method: Method, path: &str, status: u16) -> Result<()> {
        let request = self.0.stack.request(method.clone(), path).header("authorization", "signed");
        let answer = request.send().await?;
        println!("   {method} {path}   {}", answer.status());
        expect(answer.status() == status, &format!("the API answers {status}"))
    }

    async fn link(&self, link: &Value) -> Result<String> {
        let linked = self.0.mono.post("accounts", link).await?;
        Ok(linked["account_id"].as_str().ok_or("the sandbox linked no account")?.to_owned())
    }

    /// Requests a sync as the fintech's app does.
    async fn sync(&self, account_id: &str, status: u16, code: &str) -> Result<Value> {
        let answer = self.0.stack.sync(account_id, "").await?;
        let answered = answer.status();
        let body: Value = answer.json().await?;
        println!("   POST /accounts/{account_id}/sync   {answered} {}", body["code"]);
        expect(
            answered == status && body["code"] == code,
            &format!("the API answers {status} {code}"),
        )?;
        Ok(body)
    }

    fn print_commands_to_try(&self, account_id: &str, web: &str) {
        let (webhook, api) = (self.0.stack.webhook_url(), self.0.stack.api_url());
        let (sandbox, endpoint) = (&self.0.mono.url, self.0.stack.endpoint());
        let planner = format!(
            "{}/2015-03-31/functions/{}/invocations",
            endpoint,
            self.0.stack.output("RefreshPlannerFunctionName"),
        );
        println!(
            "
Staying up until Ctrl-C. Link accounts in a browser, on the page of examples/web:

  {web}

For the commands of the README:

  export API_URL={api} WEBHOOK_URL={webhook}
  export ACCOUNT_ID={account_id} MONO_WEBHOOK_SECRET={LOCAL_SECRET}
  export AWS_REGION={REGION} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_SESSION_TOKEN=

The command-line tool, with the variables above and AWS_ENDPOINT_URL={endpoint}:

  cargo run -q -p cli -- status
  cargo run -q -p cli -- account {account_id}
  cargo run -q -p cli -- export {account_id}
  cargo run -q -p cli -- adopt --dry-run --transactions
  cargo run -q -p cli -- replay webhook

Or without a real signature, since the emulator accepts any:

  # the account
  curl -s -H 'authorization: any' {api}/accounts/{account_id}

  # its transactions
  curl -s -H 'authorization: any' '{api}/accounts/{account_id}/transactions?limit=5'
  curl -s -H 'authorization: any' '{api}/accounts/{account_id}/transactions/changes?limit=5'

  # its history; the accounts that need attention; a re-authorisation link for the customer
  curl -s -H 'authorization: any' {api}/accounts/{account_id}/events
  curl -s -H 'authorization: any' '{api}/accounts?limit=10&status=failed'
  curl -s -X POST -H 'authorization: any' {api}/accounts/{account_id}/reauthorise

  # sync it; `?data=balance` syncs only the balance
  curl -s -X POST -H 'authorization: any' {api}/accounts/{account_id}/sync

  # set the outcomes of its next syncs; list the calls to Mono
  curl -s -X PUT {sandbox}/control/accounts/{account_id}/plans -d '[{{\"outcome\":\"failed\"}}, {{\"pace\":{{\"slow\":600}}}}]'
  curl -s {sandbox}/control/calls

  # Mono: link another account, refresh one, list the deliveries
  curl -s -X POST {sandbox}/control/accounts -d '{{\"ref\":\"customer-4713\"}}'
  curl -s -X POST {sandbox}/control/accounts/{account_id}/refresh -d '{{\"outcome\":\"failed\"}}'
  curl -s {sandbox}/control/deliveries

  # the automatic refresh, now instead of on its hourly schedule
  curl -s -X POST -H 'authorization: AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/lambda/aws4_request, SignedHeaders=host, Signature=0' {planner}

  # a network that loses, duplicates and delays webhooks
  curl -s -X PUT {sandbox}/control/network -d '{{\"lose\":0.1,\"duplicate\":0.5,\"delay\":0.3,\"delay_seconds\":60}}'

  # the webhook itself
  curl -s -X POST -H 'mono-webhook-secret: {LOCAL_SECRET}' {webhook} -d '{{\"event\":\"mono.events.webhook_test\"}}'

Outcomes of a refresh: new_data nothing_new reauthorisation_required failed bank_unavailable partial
"
        );
    }

    /// The account, as soon as it has this status.
    async fn until_status(&self, account_id: &str, status: &str) -> Result<Value> {
        self.account_when(account_id, status, |account| account["status"] == status).await
    }

    async fn account_when(
        &self,
        account_id: &str,
        what: &str,
        expected: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            let (status, account) = self.0.stack.account(account_id).await?;
            if status == 200 && expected(&account) {
                return Ok(account);
            }
            expect(Instant::now() < end, &format!("the account shows {what}"))?;
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the processor's log contains this event `times` times.
    async fn until_processed(&self, event_id: &str, times: usize) -> Result<()> {
        self.until_logged("processor", event_id, times).await
    }

    async fn until_logged(&self, function: &str, text: &str, times: usize) -> Result<()> {
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            let log = self.0.stack.log(function).await?;
            if log.iter().map(|line| line.matches(text).count()).sum::<usize>() >= times {
                return Ok(());
            }
            expect(Instant::now() < end, &format!("{function} logs {text}"))?;
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The number of webhooks that the sandbox has sent.
    async fn count_webhooks(&self) -> Result<usize> {
        Ok(self.0.mono.settled().await?.len())
    }

    async fn show_webhooks(&self, from: usize) -> Result<()> {
        for delivery in self.0.mono.settled().await?.iter().skip(from) {
            let attempts = delivery["attempts"].as_array().map_or(0, Vec::len);
            let (kind, outcome) = (&delivery["kind"], &delivery["outcome"]);
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            println!("   webhook  {:<44} {} (attempts: {attempts})", text(kind), text(outcome));
        }
        Ok(())
    }
}

fn print_status(account: &Value) {
    for field in ["status", "status_at", "last_synced_at", "reauthorisation_required_at"] {
        println!("   {field:<28} {}", account[field]);
    }
}

fn step(number: u8, text: &str) {
    println!("\n{number}. {text}");
}

fn indented(value: &Value) -> String {
    format!("   {value:#}").replace('\n', "\n   ")
}
