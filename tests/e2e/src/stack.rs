//! The real template, deployed to the emulator.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;

use aws_config::SdkConfig;
use aws_sdk_sqs::Client as Sqs;
use aws_sdk_sqs::types::QueueAttributeName;
use mono_sync::aws::sdk::Timeouts;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::contract_proxy::ContractProxy;
use crate::emulator::{Emulator, LocalError, OPERATOR, REGION, sdk_config};
use crate::project;
use crate::queue_policy::allow_plain_http;
use crate::roles::allow_batches;

#[derive(Clone, Debug)]
pub struct Stack {
    name: String,
    endpoint: String,
    /// The host name that the emulator gives the API.
    api_host: String,
    outputs: HashMap<String, String>,
    resources: HashMap<String, String>,
    contract_proxy: ContractProxy,
    http: Client,
}

impl Stack {
    /// Deploys the output of `sam build` with these parameters, and reads the outputs and resources of the stack.
    pub async fn deploy(
        emulator: &Emulator,
        name: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Self, LocalError> {
        let template = project().join(".aws-sam/local/template.yaml");
        if !template.exists() {
            return Err(LocalError::NotBuilt);
        }
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        let all = [&[("Architecture", architecture)], parameters].concat();
        let outputs = deploy_template(emulator, name, &template, &all).await?;
        let resources =
            list(emulator, name, "resources", "LogicalResourceId", "PhysicalResourceId").await?;
        // Without a connection pool: a connection ends with the runtime of the test that opened it.
        let http = Client::builder().pool_max_idle_per_host(0).build().unwrap_or_default();
        let roles = resources.iter().filter(|(id, _)| id.ends_with("Role"));
        let roles = roles.map(|(id, name)| (id.as_str(), name.as_str()));
        allow_batches(&http, &emulator.endpoint(), operator("iam"), roles).await?;
        let queues = outputs.iter().filter(|(name, _)| name.ends_with("QueueUrl"));
        allow_plain_http(&emulator.endpoint(), queues.map(|(_, url)| url.as_str())).await?;
        for (mapping, parameter) in [
            ("ProcessorFunctionWebhookQueue", "ProcessorMaximumConcurrency"),
            ("ImporterFunctionImportQueue", "ImportMaximumConcurrency"),
            ("RefreshWorkerFunctionRefreshQueue", "RefreshMaximumConcurrency"),
        ] {
            // More than the template's default, to keep the tests short.
            let maximum = value_of(parameters, parameter).unwrap_or("10");
            limit_concurrency(&http, &emulator.endpoint(), resources.get(mapping), maximum).await?;
        }
        let api_host = api_host(&outputs, emulator.port());
        Ok(Self {
            name: name.to_owned(),
            endpoint: emulator.endpoint(),
            outputs,
            resources,
            contract_proxy: ContractProxy::start(emulator.endpoint(), &api_host).await?,
            api_host,
            http,
        })
    }

    /// An output of the template.
    ///
    /// # Panics
    ///
    /// If the stack has no output of this name.
    pub fn output(&self, name: &str) -> &str {
        self.outputs.get(name).unwrap_or_else(|| panic!("the stack has no output {name}"))
    }

    /// The names and URLs of the queues in the outputs.
    pub fn queues(&self) -> impl Iterator<Item = (&str, &str)> {
        let outputs = self.outputs.iter().map(|(name, url)| (name.as_str(), url.as_str()));
        outputs.filter(|(name, _)| name.ends_with("QueueUrl"))
    }

    /// The physical id of a resource.
    ///
    /// # Panics
    ///
    /// If the stack has no resource of this name.
    pub fn resource(&self, name: &str) -> &str {
        self.resources.get(name).unwrap_or_else(|| panic!("the stack has no resource {name}"))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of the stack's emulator.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The webhook's URL on this machine. The API has its own host name below `localhost`.
    pub fn webhook_url(&self) -> String {
        format!("http://{}/webhooks/mono", self.api_host)
    }

    /// The API's URL on this machine.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.api_host)
    }

    /// The API's URL with an address, for programs that do not resolve names below `localhost`. An answer
    /// that violates `openapi.yaml` is returned as 599.
    pub fn api_address(&self) -> String {
        self.contract_proxy.endpoint()
    }

    /// A request to the API at its [address](Self::api_address).
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.api_address()))
    }

    /// The status and the account that the API returns for a signed request.
    ///
    /// # Errors
    ///
    /// If no answer arrives.
    pub async fn account(&self, account_id: &str) -> reqwest::Result<(StatusCode, Value)> {
        let request = self.request(Method::GET, &format!("/accounts/{account_id}"));
        // The emulator requires this header but does not check the signature.
        let answer = request.header("authorization", "signed").send().await?;
        let status = answer.status();
        Ok((status, answer.json().await?))
    }

    /// The API's answer to a signed GET request.
    ///
    /// # Errors
    ///
    /// If no answer arrives.
    pub async fn get(&self, path: &str) -> reqwest::Result<Response> {
        self.request(Method::GET, path).header("authorization", "signed").send().await
    }

    /// Requests a sync of an account with a signed request and a query such as `?data=balance`.
    ///
    /// # Errors
    ///
    /// If no answer arrives.
    pub async fn sync(&self, account_id: &str, query: &str) -> reqwest::Result<Response> {
        let request = self.request(Method::POST, &format!("/accounts/{account_id}/sync{query}"));
        request.header("authorization", "signed").send().await
    }

    /// Invokes a function directly, without the API. Returns the function's result.
    ///
    /// # Errors
    ///
    /// If no answer arrives.
    pub async fn invoke(&self, function: &str, event: &Value) -> reqwest::Result<Value> {
        let name = self.resource(function);
        let url = format!("{}/2015-03-31/functions/{name}/invocations", self.endpoint);
        self.http.post(url).headers(operator("lambda")).json(event).send().await?.json().await
    }

    /// Stops the notifier. A test with very many records would otherwise wait for their notifications.
    ///
    /// # Errors
    ///
    /// If no answer arrives.
    pub async fn stop_notifier(&self) -> reqwest::Result<()> {
        let mapping = self.resource("NotifierFunctionAccountsTable");
        let url = format!("{}/2015-03-31/event-source-mappings/{mapping}", self.endpoint);
        let update = self.http.put(url).headers(operator("lambda"));
        let answer = update.json(&json!({ "Enabled": false })).send().await?;
        answer.error_for_status().map(drop)
    }

    /// Runs the refresh planner, as the schedule does once an hour. Returns the plan.
    ///
    /// # Errors
    ///
    /// If no answer arrives.
    pub async fn plan_refresh(&self) -> reqwest::Result<Value> {
        self.invoke("RefreshPlannerFunction", &json!({})).await
    }

    /// The records of the stream of a table, from the oldest.
    ///
    /// # Errors
    ///
    /// If no answer arrives.
    pub async fn stream_of(&self, table: &str) -> reqwest::Result<Vec<Value>> {
        let table = json!({ "TableName": self.resource(table) });
        let described = self.dynamodb("DynamoDB_20120810.DescribeTable", &table).await?;
        let stream = &described["Table"]["LatestStreamArn"];
        let call = async |operation: &str, request: Value| {
            self.dynamodb(&format!("DynamoDBStreams_20120810.{operation}"), &request).await
        };
        let described = call("DescribeStream", json!({ "StreamArn": stream })).await?;
        let shard = &described["StreamDescription"]["Shards"][0]["ShardId"];
        let start = json!({
            "StreamArn": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON",
        });
        let mut iterator = call("GetShardIterator", start).await?["ShardIterator"].take();
        let mut records = Vec::new();
        loop {
            let mut page = call("GetRecords", json!({ "ShardIterator": iterator })).await?;
            match page["Records"].as_array_mut() {
                Some(more) if !more.is_empty() => records.append(more),
                _ => return Ok(records),
            }
            iterator = page["NextShardIterator"].take();
        }
    }

    async fn dynamodb(&self, target: &str, request: &Value) -> reqwest::Result<Value> {
        let call = self.http.post(&self.endpoint).headers(operator("dynamodb"));
        let call = call.header("x-amz-target", target);
        let call = call.header(CONTENT_TYPE, "application/x-amz-json-1.0").json(request);
        call.send().await?.json().await
    }

    /// The lines that a function has logged so far.
    ///
    /// # Errors
    ///
    /// If no answer arrives.
    pub async fn log(&self, function: &str) -> reqwest::Result<Vec<String>> {
        let request = self
            .http
            .post(&self.endpoint)
            .headers(operator("logs"))
            .header("x-amz-target", "Logs_20140328.FilterLogEvents")
            .header(CONTENT_TYPE, "application/x-amz-json-1.1")
            .json(&json!({ "logGroupName": format!("/{}/{function}", self.name) }));
        let answer: Value = request.send().await?.json().await?;
        let events = answer["events"].as_array().into_iter().flatten();
        Ok(events.filter_map(|event| event["message"].as_str().map(str::to_owned)).collect())
    }

    /// Shortens the visibility timeouts of the template, so that tests need not wait for redeliveries.
    /// The timeout of the import queue stays longer than the function's own timeout. If a function sets
    /// the visibility timeout of a message itself, that value still applies.
    ///
    /// # Panics
    ///
    /// If the emulator rejects the change.
    pub async fn redeliver_soon(&self) {
        for (queue, seconds) in
            [("WebhookQueueUrl", "2"), ("ImportQueueUrl", "125"), ("RefreshQueueUrl", "80")]
        {
            Sqs::new(&self.sdk())
                .set_queue_attributes()
                .queue_url(self.output(queue))
                .attributes(QueueAttributeName::VisibilityTimeout, seconds)
                .send()
                .await
                .expect("the queue accepts another visibility timeout");
        }
    }

    /// The SDK's configuration for the stack's emulator.
    pub fn sdk(&self) -> SdkConfig {
        // The emulator needs seconds for a query with many rows.
        sdk_config(&self.endpoint, Timeouts::LONG)
    }
}

fn api_host(outputs: &HashMap<String, String>, port: u16) -> String {
    let url = outputs.get("ApiUrl").map(String::as_str).unwrap_or_default();
    let api_id = url.trim_start_matches("https://").split('.').next().unwrap_or_default();
    format!("{api_id}.execute-api.localhost:{port}")
}

/// Deploys a template with these parameters, and returns the outputs of the stack.
///
/// # Errors
///
/// If the template cannot be deployed.
pub async fn deploy_template(
    emulator: &Emulator,
    name: &str,
    template: &Path,
    parameters: &[(&str, &str)],
) -> Result<HashMap<String, String>, LocalError> {
    let mut deploy = sam(emulator)?;
    deploy.arg("deploy").arg("--template-file").arg(template);
    deploy.args(["--stack-name", name, "--resolve-s3", "--capabilities", "CAPABILITY_IAM"]);
    deploy.args(["--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"]);
    let parameters = parameters.iter().map(|(name, value)| format!("{name}={value}"));
    deploy.arg("--parameter-overrides").args(parameters);
    {
        // The first deployment creates a bucket that all share. Concurrent deployments would conflict.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
        let _turn = ONE_AT_A_TIME.lock().await;
        output(deploy).await?;
    }
    list(emulator, name, "stack-outputs", "OutputKey", "OutputValue").await
}

fn value_of<'a>(parameters: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// Sets the maximum concurrency again, as a number. The emulator treats a value from a parameter as text,
/// and its pollers stop at text.
async fn limit_concurrency(
    http: &Client,
    endpoint: &str,
    mapping: Option<&String>,
    maximum: &str,
) -> Result<(), LocalError> {
    let failed = |error: &dyn ToString| LocalError::NotDeployed(error.to_string());
    let mapping = mapping.ok_or_else(|| failed(&"a queue has no event source mapping"))?;
    let maximum: u32 = maximum.parse().map_err(|error| failed(&error))?;
    let url = format!("{endpoint}/2015-03-31/event-source-mappings/{mapping}");
    let update = json!({ "ScalingConfig": { "MaximumConcurrency": maximum } });
    let answer = http.put(url).headers(operator("lambda")).json(&update).send().await;
    answer.and_then(Response::error_for_status).map(drop).map_err(|error| failed(&error))
}

/// The operator's credentials for requests without an SDK. The emulator does not check the signature.
fn operator(service: &str) -> HeaderMap {
    let scope = format!("{OPERATOR}/20260101/{REGION}/{service}/aws4_request");
    let value = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
    HeaderValue::from_str(&value).map(|value| (AUTHORIZATION, value)).into_iter().collect()
}

/// The answer of `sam list` about the stack, keyed by name.
async fn list(
    emulator: &Emulator,
    name: &str,
    what: &str,
    key: &str,
    value: &str,
) -> Result<HashMap<String, String>, LocalError> {
    let mut list = sam(emulator)?;
    list.args(["list", what, "--stack-name", name, "--output", "json"]);
    let printed = output(list).await?;
    let rows: Vec<Value> = serde_json::from_str(&printed).unwrap_or_default();
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    Ok(rows.iter().map(|row| (text(row, key), text(row, value))).collect())
}

fn sam(emulator: &Emulator) -> Result<Command, LocalError> {
    let program = project().join(".venv/bin/sam");
    if !program.exists() {
        return Err(LocalError::NotInstalled(program));
    }
    let mut sam = Command::new(program);
    sam.current_dir(project())
        // No credentials of a real account, so that a test never deploys to one.
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
        .env("AWS_ENDPOINT_URL", emulator.endpoint())
        .env("AWS_ACCESS_KEY_ID", OPERATOR)
        .env("AWS_SECRET_ACCESS_KEY", OPERATOR)
        .env("AWS_REGION", REGION)
        .env("AWS_DEFAULT_REGION", REGION)
        .env("SAM_CLI_TELEMETRY", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    Ok(sam)
}

async fn output(mut command: Command) -> Result<String, LocalError> {
    let output = command.output().await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let printed = [output.stdout, output.stderr].concat();
    Err(LocalError::NotDeployed(String::from_utf8_lossy(&printed).into_owned()))
}
