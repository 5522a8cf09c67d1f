//! The HTTP contract, `openapi.yaml`, and the check of answers against it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Value, json};

use crate::{project, yaml};

/// The contract, with compiled schemas.
#[derive(Debug)]
pub struct Contract {
    document: Value,
    operations: Vec<Operation>,
    refusal: Validator,
}

/// A route, with its replies by status.
#[derive(Debug)]
struct Operation {
    method: Method,
    path: String,
    replies: BTreeMap<u16, Reply>,
}

/// The documented headers and bodies of one status.
#[derive(Debug)]
struct Reply {
    headers: Vec<Header>,
    contents: BTreeMap<String, Validator>,
}

#[derive(Debug)]
struct Header {
    name: String,
    required: Required,
    is_integer: bool,
    schema: Validator,
}

#[derive(Debug)]
enum Required {
    Always,
    /// If the body matches this schema: `x-required-when`.
    When(Validator),
    Never,
}

/// An answer of the API.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub status: u16,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// A part of the document is not a JSON Schema, or a reference points to nothing.
#[derive(Debug, thiserror::Error)]
#[error("openapi.yaml: {0}")]
pub struct ContractError(String);

impl Contract {
    /// The contract of this project, read once.
    pub fn of_project() -> Result<&'static Self, &'static ContractError> {
        static CONTRACT: OnceLock<Result<Contract, ContractError>> = OnceLock::new();
        let contract = CONTRACT.get_or_init(|| {
            let text = std::fs::read_to_string(project().join("openapi.yaml"));
            let text = text.map_err(|error| ContractError(error.to_string()))?;
            Self::new(yaml::read(&text, yaml::no_tags))
        });
        contract.as_ref()
    }

    /// The contract in a document of OpenAPI 3.1.
    pub fn new(document: Value) -> Result<Self, ContractError> {
        let reader = Reader(&document);
        let mut operations = Vec::new();
        for (path, item) in entries(&document["paths"]) {
            for (method, operation) in entries(item) {
                let Ok(method) = method.to_ascii_uppercase().parse() else { continue };
                if operation["responses"].is_object() {
                    let replies = reader.replies(operation)?;
                    operations.push(Operation { method, path: path.to_owned(), replies });
                }
            }
        }
        let refusal = reader.validator(&json!({ "$ref": "#/components/schemas/Refusal" }))?;
        Ok(Self { document, operations, refusal })
    }

    /// The document itself, as JSON.
    pub const fn document(&self) -> &Value {
        &self.document
    }

    /// The target of a reference within the document. A chain of references is followed to its end.
    pub fn resolve<'a>(&'a self, value: &'a Value) -> Result<&'a Value, ContractError> {
        Reader(&self.document).resolve(value)
    }

    /// The places where a value violates a schema of the document.
    pub fn differences(&self, schema: &Value, value: &Value) -> Result<Vec<String>, ContractError> {
        Ok(differences(&Reader(&self.document).validator(schema)?, value))
    }

    /// The violations of the contract in an answer. `path` has no query.
    pub fn violations(&self, method: &Method, path: &str, answer: &Answer<'_>) -> Vec<String> {
        if method == Method::OPTIONS {
            // API Gateway answers CORS requests itself.
            return Vec::new();
        }
        let operation = self
            .operations
            .iter()
            .find(|each| each.method == *method && matches_route(&each.path, path));
        let (route, found) = match operation {
            Some(operation) => {
                (format!("{method} {}", operation.path), operation.violations(answer))
            }
            None => (format!("{method} {path}"), self.undocumented(answer)),
        };
        found.iter().map(|found| format!("{route} {}: {found}", answer.status)).collect()
    }

    /// API Gateway refuses undocumented routes with its own 404.
    fn undocumented(&self, answer: &Answer<'_>) -> Vec<String> {
        let body = serde_json::from_slice(answer.body).unwrap_or_default();
        if answer.status == 404 && self.refusal.is_valid(&body) {
            return Vec::new();
        }
        vec!["the route is not documented".to_owned()]
    }
}

impl Operation {
    fn violations(&self, answer: &Answer<'_>) -> Vec<String> {
        match self.replies.get(&answer.status) {
            Some(reply) => reply.violations(answer),
            None => vec!["the status is not documented".to_owned()],
        }
    }
}

impl Reply {
    fn violations(&self, answer: &Answer<'_>) -> Vec<String> {
        let mut found = Vec::new();
        let body = serde_json::from_slice(answer.body).unwrap_or_else(|error| {
            found.push(format!("the body is not JSON: {error}"));
            Value::Null
        });
        let content_type = text(answer.headers, CONTENT_TYPE.as_str()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        match self.contents.get(media_type) {
            Some(schema) if found.is_empty() => {
                found.extend(differences(schema, &body).iter().map(|it| format!("the body{it}")));
            }
            Some(_) => {}
            None => found.push(format!("the content type {content_type:?} is not documented")),
        }
        found.extend(self.headers.iter().filter_map(|header| header.violation(answer, &body)));
        found
    }
}

impl Header {
    fn violation(&self, answer: &Answer<'_>, body: &Value) -> Option<String> {
        let Self { name, .. } = self;
        let Some(text) = text(answer.headers, name) else {
            let missing = match &self.required {
                Required::Always => true,
                Required::When(schema) => schema.is_valid(body),
                Required::Never => false,
            };
            return missing.then(|| format!("the header {name} is missing"));
        };
        let number = text.parse().ok().filter(|_| self.is_integer).map(|number: i64| json!(number));
        let differences = differences(&self.schema, &number.unwrap_or_else(|| json!(text)));
        (!differences.is_empty()).then(|| format!("the header {name}{}", differences.join(", ")))
    }
}

/// Reads the parts of a document.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a Value);

impl<'a> Reader<'a> {
    fn replies(self, operation: &'a Value) -> Result<BTreeMap<u16, Reply>, ContractError> {
        let replies = entries(&operation["responses"]).map(|(status, reply)| {
            let no_number = |_| ContractError(format!("the status {status} is not a number"));
            Ok((status.parse().map_err(no_number)?, self.reply(self.resolve(reply)?)?))
        });
        replies.collect()
    }

    fn reply(self, reply: &'a Value) -> Result<Reply, ContractError> {
        let headers = entries(&reply["headers"]).map(|(name, header)| {
            let header = self.resolve(header)?;
            let required = match &header["x-required-when"] {
                Value::Null if header["required"] == true => Required::Always,
                Value::Null => Required::Never,
                schema => Required::When(self.validator(schema)?),
            };
            let is_integer = self.resolve(&header["schema"])?["type"] == "integer";
            let schema = self.validator(&header["schema"])?;
            Ok(Header { name: name.to_owned(), required, is_integer, schema })
        });
        let contents = entries(&reply["content"]).map(|(media_type, content)| {
            Ok((media_type.to_owned(), self.validator(&content["schema"])?))
        });
        Ok(Reply {
            headers: headers.collect::<Result<_, _>>()?,
            contents: contents.collect::<Result<_, _>>()?,
        })
    }

    fn resolve(self, value: &'a Value) -> Result<&'a Value, ContractError> {
        let Some(reference) = value["$ref"].as_str() else {
            return Ok(value);
        };
        let referent = reference.strip_prefix('#').and_then(|pointer| self.0.pointer(pointer));
        let referent = referent.filter(|referent| !referent.is_null());
        self.resolve(referent.ok_or_else(|| ContractError(format!("{reference} does not exist")))?)
    }

    fn validator(self, schema: &Value) -> Result<Validator, ContractError> {
        // References point into the document, so its schemas are included.
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "components": { "schemas": self.0["components"]["schemas"] },
            "allOf": [schema],
        });
        let options = jsonschema::options().should_validate_formats(true);
        options.build(&schema).map_err(|error| ContractError(error.to_string()))
    }
}

/// The violations of a schema in a value, each with its place.
fn differences(schema: &Validator, value: &Value) -> Vec<String> {
    schema.iter_errors(value).flat_map(|error| explanations(&error)).collect()
}

/// The explanations of an error. If no alternative matches, the one with the fewest errors is
/// explained.
fn explanations(error: &ValidationError<'_>) -> Vec<String> {
    if let ValidationErrorKind::OneOfNotValid { context } = error.kind() {
        let closest = context.iter().min_by_key(|errors| errors.len());
        return closest.into_iter().flatten().flat_map(explanations).collect();
    }
    vec![format!("{}: {error}", error.instance_path())]
}

/// Whether a path such as `/accounts/a` matches a route such as `/accounts/{account_id}`.
fn matches_route(route: &str, path: &str) -> bool {
    let fits = |(part, given): (&str, &str)| {
        if part.starts_with('{') { !given.is_empty() } else { part == given }
    };
    route.split('/').count() == path.split('/').count()
        && route.split('/').zip(path.split('/')).all(fits)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn entries(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    const PATH: &str = "/accounts/697926f050b9c321c1451dda";

    /// A valid answer to `GET /accounts/{account_id}`, which tests then change.
    struct TestAnswer {
        status: u16,
        headers: HeaderMap,
        body: Value,
    }

    impl TestAnswer {
        fn new(status: u16, media_type: &str, example: &str) -> Self {
            let examples = &Contract::of_project().unwrap().document()["components"]["examples"];
            let given = Self {
                status,
                headers: HeaderMap::new(),
                body: examples[example]["value"].clone(),
            };
            given
                .with_header("content-type", media_type)
                .with_header("x-request-id", "8286a188")
                .with_header("cache-control", "no-store")
                .with_header("apigw-requestid", "Zy=")
        }

        fn account() -> Self {
            Self::new(200, "application/json", "HealthyAccount")
        }

        fn problem(status: u16, example: &str) -> Self {
            Self::new(status, "application/problem+json", example)
        }

        fn with_header(mut self, name: &'static str, value: &str) -> Self {
            let value = HeaderValue::from_str(value).unwrap();
            self.headers.insert(HeaderName::from_static(name), value);
            self
        }

        fn without_header(mut self, name: &str) -> Self {
            self.headers.remove(name);
            self
        }

        fn with(mut self, field: &str, value: Value) -> Self {
            self.body[field] = value;
            self
        }

        fn without(mut self, field: &str) -> Self {
            self.body.as_object_mut().unwrap().remove(field);
            self
        }

        fn to(&self, method: &Method, path: &str) -> Vec<String> {
            let body = serde_json::to_vec(&self.body).unwrap();
            let answer = Answer { status: self.status, headers: &self.headers, body: &body };
            Contract::of_project().unwrap().violations(method, path, &answer)
        }

        fn violations(&self) -> Vec<String> {
            self.to(&Method::GET, PATH)
        }

        #[track_caller]
        fn assert_violation(&self, what: &str) {
            let found = self.violations();
            let prefix = format!("GET /accounts/{{account_id}} {}: ", self.status);
            assert!(found.iter().all(|violation| violation.starts_with(&prefix)), "{found:#?}");
            assert!(found.iter().any(|violation| violation.contains(what)), "{found:#?}");
        }
    }

    #[test]
    fn documented_answer_has_no_violations() {
        let refusal = |status, example| {
            TestAnswer::new(status, "application/json", example)
                .without_header("x-request-id")
                .without_header("cache-control")
        };
        for given in [
            TestAnswer::account(),
            TestAnswer::account().with_header("content-type", "application/json; charset=utf-8"),
            TestAnswer::account().with_header("vary", "origin"),
            TestAnswer::account().with("balance", json!(i64::MIN)),
            TestAnswer::problem(404, "AccountNotFound"),
            TestAnswer::problem(403, "OwnerClaimMissing"),
            TestAnswer::problem(503, "StoreUnavailable"),
            refusal(403, "Forbidden"),
            refusal(429, "TooManyRequests"),
            refusal(503, "ServiceUnavailable"),
        ] {
            assert_eq!(given.violations(), Vec::<String>::new());
        }
    }

    #[test]
    fn undocumented_body_is_a_violation() {
        TestAnswer::account().with("bvn", json!("1")).assert_violation("'bvn' was unexpected");
        TestAnswer::account()
            .without("balance")
            .assert_violation("\"balance\" is a required property");
        TestAnswer::account().with("balance", json!(0.5)).assert_violation("the body/balance: 0.5");
        TestAnswer::account()
            .with("balance", json!("1"))
            .assert_violation("the body/balance: \"1\"");
        TestAnswer::account()
            .with("status", json!("fine"))
            .assert_violation("the body/status: \"fine\"");
        TestAnswer::account().with("status_at", json!("2026-01-27")).assert_violation("/status_at");
        let institution = json!({ "name": null, "bank_code": "058", "type": null, "id": "1" });
        TestAnswer::account()
            .with("institution", institution)
            .assert_violation("'id' was unexpected");
    }

    #[test]
    fn undocumented_problem_is_a_violation() {
        let not_found = || TestAnswer::problem(404, "AccountNotFound");
        not_found().with("mono_code", json!("X")).assert_violation("'mono_code' was unexpected");
        not_found().without("detail").assert_violation("\"detail\" is a required property");
        not_found().with("status", json!(410)).assert_violation("the body/status");
        not_found().with("code", json!("GONE")).assert_violation("the body/code");
        TestAnswer::problem(404, "AccountUnlinked").assert_violation("the body/code");
    }

    #[test]
    fn undocumented_status_is_a_violation() {
        for status in [201, 302, 410, 418, 599] {
            let given = TestAnswer { status, ..TestAnswer::account() };
            given.assert_violation("the status is not documented");
        }
    }

    #[test]
    fn missing_or_wrong_header_is_a_violation() {
        for name in ["x-request-id", "cache-control", "apigw-requestid"] {
            let missing = format!("the header {name} is missing");
            TestAnswer::account().without_header(name).assert_violation(&missing);
            TestAnswer::problem(404, "AccountNotFound")
                .without_header(name)
                .assert_violation(&missing);
            TestAnswer::problem(503, "StoreUnavailable")
                .without_header(name)
                .assert_violation(&missing);
        }
        TestAnswer::account()
            .with_header("cache-control", "max-age=60")
            .assert_violation("the header cache-control");
    }

    #[test]
    fn retry_after_is_required_for_some_codes() {
        let path = format!("{PATH}/sync");
        let violations = |given: TestAnswer| given.to(&Method::POST, &path);
        assert!(violations(TestAnswer::problem(503, "StoreUnavailable")).is_empty());
        for (status, example) in [(503, "MonoUnavailable"), (429, "SyncCooldown")] {
            let given = || TestAnswer::problem(status, example);
            assert!(violations(given())[0].ends_with("the header retry-after is missing"));
            assert!(violations(given().with_header("retry-after", "7")).is_empty());
            for wrong in ["0", "soon", "1.5"] {
                assert_eq!(violations(given().with_header("retry-after", wrong)).len(), 1);
            }
        }
    }

    #[test]
    fn undocumented_content_type_is_a_violation() {
        let html = "the content type \"text/html\" is not documented";
        TestAnswer::account().with_header("content-type", "text/html").assert_violation(html);
        TestAnswer::account()
            .without_header("content-type")
            .assert_violation("the content type \"\"");
        let problem = TestAnswer::new(404, "application/json", "AccountNotFound");
        problem.assert_violation("the content type \"application/json\" is not documented");
    }

    #[test]
    fn body_that_is_not_json_is_a_violation() {
        let TestAnswer { status, headers, .. } = TestAnswer::account();
        let answer = Answer { status, headers: &headers, body: b"{" };
        let violations = Contract::of_project().unwrap().violations(&Method::GET, PATH, &answer);
        assert!(violations[0].contains("the body is not JSON"), "{violations:?}");
    }

    #[test]
    fn undocumented_route_is_a_violation_unless_api_gateway_refuses_it() {
        let not_found =
            TestAnswer { body: json!({ "message": "Not Found" }), ..TestAnswer::account() };
        let not_found = TestAnswer { status: 404, ..not_found };
        for (method, path) in [
            (Method::GET, "/"),
            (Method::GET, "/accounts/"),
            (Method::GET, "/accounts/a/"),
            (Method::GET, "/accounts/a/b/c"),
            (Method::PUT, PATH),
            (Method::GET, "/webhooks/mono"),
        ] {
            assert_eq!(not_found.to(&method, path), Vec::<String>::new());
            let violations = TestAnswer::account().to(&method, path);
            assert_eq!(violations, [format!("{method} {path} 200: the route is not documented")]);
        }
    }

    #[test]
    fn document_with_an_invalid_schema_or_reference_is_refused() {
        for (pointer, value) in [
            ("/components/responses/Throttled", Value::Null),
            ("/components/schemas/Account/type", json!("thing")),
            ("/components/schemas/Refusal", json!({ "$ref": "#/components/schemas/Nothing" })),
            ("/paths/~1accounts/get/responses", json!({ "4XX": {} })),
        ] {
            let mut document = Contract::of_project().unwrap().document().clone();
            *document.pointer_mut(pointer).unwrap() = value;
            assert!(Contract::new(document).is_err(), "{pointer}");
        }
    }
}
