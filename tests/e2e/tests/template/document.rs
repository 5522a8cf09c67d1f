//! Reads the template.

use std::fs;
use std::path::PathBuf;

use e2e::yaml;
use serde_json::{Value, json};

pub(crate) const ALARM: &str = "AWS::CloudWatch::Alarm";
pub(crate) const API: &str = "AWS::ApiGatewayV2::Api";
pub(crate) const AUTHORIZER: &str = "AWS::ApiGatewayV2::Authorizer";
pub(crate) const DASHBOARD: &str = "AWS::CloudWatch::Dashboard";
pub(crate) const FUNCTION: &str = "AWS::Serverless::Function";
pub(crate) const LOG_GROUP: &str = "AWS::Logs::LogGroup";
pub(crate) const QUEUE: &str = "AWS::SQS::Queue";
pub(crate) const QUEUE_POLICY: &str = "AWS::SQS::QueuePolicy";
pub(crate) const ROLE: &str = "AWS::IAM::Role";
pub(crate) const ROUTE: &str = "AWS::ApiGatewayV2::Route";
pub(crate) const STAGE: &str = "AWS::ApiGatewayV2::Stage";
pub(crate) const STORED_SECRET: &str = "AWS::SecretsManager::Secret";
pub(crate) const TABLE: &str = "AWS::DynamoDB::Table";
pub(crate) const TOPIC: &str = "AWS::SNS::Topic";

/// The template as JSON: intrinsic functions in their long form, `Globals` merged into functions.
pub(crate) struct Template(pub(crate) Value);

impl Template {
    pub(crate) fn load() -> Self {
        let text = fs::read_to_string(root().join("template.yaml")).expect("a readable template");
        let mut template = yaml::read(&text, intrinsic);
        let globals = template["Globals"]["Function"].take();
        for resource in template["Resources"].as_object_mut().expect("resources").values_mut() {
            if resource["Type"] == FUNCTION {
                inherit(&mut resource["Properties"], &globals);
            }
        }
        Self(template)
    }

    /// Changes one value of the template. The pointer is a JSON pointer into the resources, or, if it
    /// begins with `//`, into the template.
    pub(crate) fn with(mut self, pointer: &str, value: Value) -> Self {
        let pointer = match pointer.strip_prefix("//") {
            Some(pointer) => format!("/{pointer}"),
            None => format!("/Resources{pointer}"),
        };
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer has slashes");
        match self.0.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}")) {
            Value::Array(items) => items[key.parse::<usize>().expect("an index")] = value,
            parent => parent[key.replace("~1", "/")] = value,
        }
        self
    }

    /// The logical ids of the resources of a type.
    pub(crate) fn all(&self, kind: &str) -> impl Iterator<Item = &str> {
        entries(&self.0["Resources"])
            .filter(move |(_, resource)| resource["Type"] == kind)
            .map(|(id, _)| id)
    }

    /// The resources of a type: logical ids and properties.
    pub(crate) fn each(&self, kind: &str) -> impl Iterator<Item = (&str, &Value)> {
        self.all(kind).map(|id| (id, self.properties(id)))
    }

    pub(crate) fn resource(&self, id: &str) -> &Value {
        &self.0["Resources"][id]
    }

    pub(crate) fn properties(&self, id: &str) -> &Value {
        &self.resource(id)["Properties"]
    }

    /// The places where resources differ from the shape. Null in the shape means an absent value.
    pub(crate) fn differences<'a>(
        &self,
        ids: impl Iterator<Item = &'a str>,
        shape: &Value,
    ) -> Vec<String> {
        ids.flat_map(|id| differences(id, self.resource(id), shape)).collect()
    }

    pub(crate) fn is_a(&self, reference: &Value, kind: &str) -> bool {
        referent(reference).is_some_and(|id| self.resource(id)["Type"] == kind)
    }

    /// The statements of a role, including those under an `Fn::If`.
    pub(crate) fn statements(&self, role: &str) -> impl Iterator<Item = &Value> {
        self.statement_entries(role).flat_map(possible)
    }

    /// The statements of a role as they are written: each may be an `Fn::If`.
    pub(crate) fn statement_entries(&self, role: &str) -> impl Iterator<Item = &Value> {
        one_or_many(&self.properties(role)["Policies"])
            .into_iter()
            .flat_map(possible)
            .flat_map(|policy| one_or_many(&policy["PolicyDocument"]["Statement"]))
    }

    /// The resource of a permission: a resource of the template, one of its indexes in the form
    /// `Table/index/Name`, or the key of `KmsKeyArn`. None for anything wider and for resources of
    /// another stack.
    pub(crate) fn granted(&self, resource: &Value) -> Option<String> {
        let Some(arn) = resource["Fn::Sub"].as_str() else {
            let known = |id: &&str| *id == "KmsKeyArn" || self.resource(id).is_object();
            return referent(resource).filter(known).map(str::to_owned);
        };
        let (id, name) = arn.strip_prefix("${")?.split_once(".Arn}/index/")?;
        let index =
            self.indexes(id).chain(self.local_indexes(id)).any(|index| index["IndexName"] == name);
        index.then(|| format!("{id}/index/{name}"))
    }

    pub(crate) fn indexes(&self, table: &str) -> impl Iterator<Item = &Value> {
        one_or_many(&self.properties(table)["GlobalSecondaryIndexes"]).into_iter()
    }

    pub(crate) fn local_indexes(&self, table: &str) -> impl Iterator<Item = &Value> {
        one_or_many(&self.properties(table)["LocalSecondaryIndexes"]).into_iter()
    }

    /// The attributes of a key, each with its type.
    pub(crate) fn key(&self, table: &str, key: &Value) -> Value {
        let definitions = one_or_many(&self.properties(table)["AttributeDefinitions"]);
        one_or_many(key)
            .into_iter()
            .map(|part| {
                let name = &part["AttributeName"];
                let definition = definitions.iter().find(|each| each["AttributeName"] == *name);
                let kind = definition.map_or(&Value::Null, |each| &each["AttributeType"]);
                json!({ name.as_str().unwrap_or_default(): kind })
            })
            .collect()
    }

    /// All routes except the webhook's: logical ids and properties.
    pub(crate) fn closed_routes(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.each(ROUTE).filter(|(_, route)| route["RouteKey"] != "POST /webhooks/mono")
    }

    /// The function that serves a route.
    pub(crate) fn function_of(&self, route: &Value) -> Option<&str> {
        let target = route["Target"]["Fn::Sub"].as_str().unwrap_or_default();
        let integration = target.trim_start_matches("integrations/${").trim_end_matches('}');
        referent(&self.properties(integration)["IntegrationUri"])
    }

    fn is_dead_letter_queue(&self, id: &str) -> bool {
        self.all(QUEUE).any(|queue| {
            let target = &self.properties(queue)["RedrivePolicy"]["deadLetterTargetArn"];
            referent(target) == Some(id)
        }) || self.stream_consumers().any(|(_, event)| {
            referent(&event["DestinationConfig"]["OnFailure"]["Destination"]) == Some(id)
        })
    }

    pub(crate) fn dead_letter_queues(&self) -> impl Iterator<Item = &str> {
        self.all(QUEUE).filter(|id| self.is_dead_letter_queue(id))
    }

    pub(crate) fn source_queues(&self) -> impl Iterator<Item = &str> {
        self.all(QUEUE).filter(|id| !self.is_dead_letter_queue(id))
    }

    /// The functions that a queue triggers, with the properties of the trigger.
    pub(crate) fn consumers(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.all(FUNCTION).flat_map(|id| {
            values(&self.properties(id)["Events"])
                .filter(|event| event["Type"] == "SQS")
                .map(move |event| (id, &event["Properties"]))
        })
    }

    /// The functions that a stream of a table triggers, with the properties of the trigger.
    pub(crate) fn stream_consumers(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.all(FUNCTION).flat_map(|id| {
            values(&self.properties(id)["Events"])
                .filter(|event| event["Type"] == "DynamoDB")
                .map(move |event| (id, &event["Properties"]))
        })
    }

    /// The metric filters on the access log of the stage.
    pub(crate) fn access_log_filters(&self) -> impl Iterator<Item = &Value> {
        let log = self.each(STAGE).next().map(|(_, stage)| &stage["AccessLogSettings"]);
        let group = log.and_then(|log| referent(&log["DestinationArn"]));
        let filters = self.each("AWS::Logs::MetricFilter").map(|(_, filter)| filter);
        filters.filter(move |filter| referent(&filter["LogGroupName"]) == group)
    }

    /// The functions that a schedule invokes.
    pub(crate) fn scheduled(&self) -> impl Iterator<Item = &str> {
        self.all(FUNCTION).filter(|id| {
            values(&self.properties(id)["Events"]).any(|event| event["Type"] == "Schedule")
        })
    }

    /// Whether a route is closed for every value of its condition or parameter.
    pub(crate) fn closed(&self, authorization: &Value) -> bool {
        let parameter = authorization["Ref"].as_str().unwrap_or_default();
        let branches = authorization["Fn::If"].as_array().map(|branches| &branches[1..]);
        let choices = self.0["Parameters"][parameter]["AllowedValues"].as_array();
        match branches.or(choices.map(Vec::as_slice)) {
            Some(all) => all.iter().all(|each| self.closed(each)),
            None => authorization == "AWS_IAM" || authorization == "JWT",
        }
    }
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn intrinsic(name: &str, argument: Value) -> Value {
    match (name, argument) {
        ("GetAtt", Value::String(path)) => {
            json!({ "Fn::GetAtt": path.split('.').collect::<Vec<_>>() })
        }
        ("Ref" | "Condition", argument) => json!({ name: argument }),
        (_, argument) => json!({ format!("Fn::{name}"): argument }),
    }
}

/// Adds the values that `own` lacks, as SAM does with `Globals`.
fn inherit(own: &mut Value, globals: &Value) {
    for (key, global) in entries(globals) {
        match &mut own[key] {
            absent @ Value::Null => *absent = global.clone(),
            own @ Value::Object(_) => inherit(own, global),
            _ => {}
        }
    }
}

fn differences(at: &str, value: &Value, shape: &Value) -> Vec<String> {
    match shape {
        Value::Object(shape) if value.is_object() => shape
            .iter()
            .flat_map(|(key, shape)| differences(&format!("{at}.{key}"), &value[key], shape))
            .collect(),
        shape if shape == value => Vec::new(),
        shape => vec![format!("{at}: {value} instead of {shape}")],
    }
}

/// The resource or parameter that `!Ref` or `!GetAtt` names.
pub(crate) fn referent(value: &Value) -> Option<&str> {
    value["Ref"].as_str().or_else(|| value["Fn::GetAtt"][0].as_str())
}

pub(crate) fn when(condition: &str, value: &Value, otherwise: &Value) -> Value {
    json!({ "Fn::If": [condition, value, otherwise] })
}

/// The values that a value can have: those of both branches of an `Fn::If`, except `AWS::NoValue`.
fn possible(value: &Value) -> Vec<&Value> {
    match value["Fn::If"].as_array() {
        Some(parts) => parts.iter().skip(1).flat_map(one_or_many).flat_map(possible).collect(),
        None if *value == no_value() => Vec::new(),
        None => vec![value],
    }
}

pub(crate) fn no_value() -> Value {
    json!({ "Ref": "AWS::NoValue" })
}

pub(crate) fn get_att(id: &str) -> Value {
    json!({ "Fn::GetAtt": [id, "Arn"] })
}

/// Whether a value refers to a parameter, at any depth.
pub(crate) fn mentions(value: &Value, parameter: &str) -> bool {
    match value {
        Value::String(text) => text.contains(&format!("${{{parameter}}}")),
        Value::Array(items) => items.iter().any(|item| mentions(item, parameter)),
        Value::Object(_) => {
            value["Ref"] == parameter || values(value).any(|entry| mentions(entry, parameter))
        }
        _ => false,
    }
}

/// The route in the source ARN of a permission: `GET /accounts/{account_id}` is `GET/accounts/*`.
pub(crate) fn source_path(route_key: &str) -> String {
    let parameter = |segment: &str| segment.starts_with('{');
    let segments = route_key.split('/').map(str::trim_end);
    segments
        .map(|segment| if parameter(segment) { "*" } else { segment })
        .collect::<Vec<_>>()
        .join("/")
}

pub(crate) fn entries(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

pub(crate) fn values(object: &Value) -> impl Iterator<Item = &Value> {
    entries(object).map(|(_, value)| value)
}

/// CloudFormation accepts a single value in place of a list of one.
pub(crate) fn one_or_many(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().collect(),
        one => vec![one],
    }
}

pub(crate) fn strings(value: &Value) -> Vec<&str> {
    one_or_many(value).into_iter().filter_map(Value::as_str).collect()
}
