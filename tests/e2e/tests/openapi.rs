//! Tests `openapi.yaml` against the routes of the template and the problems of the code. Each response
//! has a valid example.
//!
//! A test runs each rule on the document, and on changed documents that violate it.
//! [`e2e::contract_proxy`] tests that the real responses match the document.

use std::collections::BTreeSet;
use std::fs;

use e2e::openapi::Contract;
use e2e::{project, yaml};
use serde_json::{Value, json};

fn routes_are_those_of_the_template(contract: &Contract) -> Vec<String> {
    let documented: BTreeSet<_> = operations(contract)
        .map(|(route, operation)| {
            let schemes = items(&operation["security"]).flat_map(entries);
            let required = schemes.flat_map(|(scheme, scopes)| {
                let scopes = items(scopes).map(move |scope| format!("{scheme} {}", text(scope)));
                std::iter::once(scheme.to_owned()).chain(scopes)
            });
            format!("{route}: {}", required.collect::<Vec<_>>().join(", "))
        })
        .collect();
    let template = fs::read_to_string(project().join("template.yaml")).expect("a template");
    let template = yaml::read(&template, |tag, argument| json!({ tag: argument }));
    let deployed: BTreeSet<_> = entries(&template["Resources"])
        .filter(|(_, resource)| resource["Type"] == "AWS::ApiGatewayV2::Route")
        .map(|(_, route)| {
            let route = &route["Properties"];
            let required = match &route["AuthorizationType"] {
                Value::String(open) if open == "NONE" => "webhookSecret".to_owned(),
                // The default scopes if JWTs are used: `!If [UseReadScope, [!Ref …], …]`.
                _ => {
                    let scopes = items(&route["AuthorizationScopes"]["If"][1]);
                    let scopes = scopes.map(|scope| text(&scope["Ref"]));
                    let scopes = scopes.map(|name| text(&template["Parameters"][name]["Default"]));
                    let scopes = scopes.map(|scope| format!("jwt {scope}")).collect::<Vec<_>>();
                    format!("iam, jwt, {}", scopes.join(", "))
                }
            };
            format!("{}: {required}", text(&route["RouteKey"]))
        })
        .collect();
    documented.symmetric_difference(&deployed).cloned().collect()
}

fn problems_are_those_of_the_code(contract: &Contract) -> Vec<String> {
    let code = fs::read_to_string(project().join("shared/src/http/problem.rs")).expect("the code");
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let literals = code.split('"').skip(1).step_by(2);
    let is_code = |text: &&str| {
        text.contains('_') && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    let known: BTreeSet<_> = literals.filter(is_code).collect();
    // The problems that at least one route may return.
    let documented: BTreeSet<_> = media_types(contract)
        .filter(|(at, _)| at.ends_with(" application/problem+json"))
        .flat_map(|(_, content)| alternatives(contract, &content["schema"]))
        .map(|schema| text(&schema["properties"]["code"]["const"]))
        .collect();
    let stray = documented.symmetric_difference(&known);
    stray.map(|code| format!("{code} is only in the document, or only in the code")).collect()
}

fn every_response_has_an_example_for_each_alternative(contract: &Contract) -> Vec<String> {
    let mut found = Vec::new();
    for (at, content) in media_types(contract) {
        let examples: Vec<_> = examples(contract, content).collect();
        for alternative in alternatives(contract, &content["schema"]) {
            if !examples
                .iter()
                .any(|example| differences(contract, alternative, example).is_empty())
            {
                found.push(format!("{at}: no example of {alternative}"));
            }
        }
    }
    found
}

fn every_example_matches_its_schema(contract: &Contract) -> Vec<String> {
    let mut found = Vec::new();
    walk("", contract.document(), &mut |at, part| {
        if part["schema"].is_object() {
            for example in examples(contract, part) {
                let differences = differences(contract, &part["schema"], example);
                found.extend(differences.iter().map(|difference| format!("{at}{difference}")));
            }
        }
    });
    found
}

fn every_schema_is_a_json_schema(contract: &Contract) -> Vec<String> {
    let schemas = entries(&contract.document()["components"]["schemas"]);
    let compiled = schemas.map(|(name, schema)| (name, contract.differences(schema, &json!(null))));
    compiled.filter_map(|(name, result)| Some(format!("{name}: {}", result.err()?))).collect()
}

fn every_component_is_used_and_every_reference_exists(contract: &Contract) -> Vec<String> {
    let mut used = BTreeSet::new();
    walk("", contract.document(), &mut |_, part| {
        if let Some(reference) = part["$ref"].as_str() {
            used.insert(reference.to_owned());
        }
        for (scheme, _) in items(&part["security"]).flat_map(entries) {
            used.insert(format!("#/components/securitySchemes/{scheme}"));
        }
    });
    let there: BTreeSet<_> = entries(&contract.document()["components"])
        .flat_map(|(kind, parts)| {
            entries(parts).map(move |(name, _)| format!("#/components/{kind}/{name}"))
        })
        .collect();
    used.symmetric_difference(&there).cloned().collect()
}

/// An open object, or one with optional fields, would hide new and missing fields.
fn every_own_object_is_closed_and_has_only_required_fields(contract: &Contract) -> Vec<String> {
    let mut found = Vec::new();
    for (name, schema) in entries(&contract.document()["components"]["schemas"]) {
        let closed = schema["additionalProperties"] == false
            || schema["unevaluatedProperties"] == false
            // The schema that the other problems extend.
            || name == "Problem";
        let request = name.ends_with("Request");
        let optional = entries(&schema["properties"]).filter(|(property, _)| {
            let constant =
                !schema["allOf"].is_null() && ["status", "code", "detail"].contains(property);
            !constant
                && !request
                && !items(&schema["required"]).any(|required| required == property)
        });
        found.extend(optional.map(|(property, _)| format!("{name}: {property} may be missing")));
        if schema["properties"].is_object() && !closed {
            found.push(format!("{name}: may have any field"));
        }
    }
    found
}

/// Tests that the rule holds for the document, and that it detects each listed change: a JSON pointer,
/// and the new value at this place.
macro_rules! rules {
    ($($rule:ident { $($pointer:literal => $value:expr,)+ })+) => {
        $(mod $rule {
            use super::*;

            #[test]
            fn document_follows_the_rule() {
                let contract = Contract::of_project().expect("a contract");
                assert_eq!($rule(contract), Vec::<String>::new());
            }

            #[test]
            fn each_listed_change_breaks_the_rule() {
                for (pointer, value) in [$(($pointer, $value)),+] {
                    let contract = Contract::new(document_with(pointer, value));
                    let contract = contract.expect("a document that can be loaded");
                    assert!(!$rule(&contract).is_empty(), "the rule accepts the change at {pointer}");
                }
            }
        })+
    };
}

rules! {
    routes_are_those_of_the_template {
        "/paths/~1accounts" => json!({}),
        "/paths/~1accounts~1{id}" => json!({ "get": { "responses": {} } }),
        "/paths/~1accounts/get/security" => json!([]),
        "/paths/~1accounts/get/security/1/jwt/0" => json!("accounts:sync"),
        "/paths/~1webhooks~1mono/post/security" => json!([{ "iam": [] }]),
    }
    problems_are_those_of_the_code {
        "/components/schemas/AccountNotFound/properties/code/const" => json!("NOT_FOUND"),
        "/components/responses/AccountUnlinked/content" => json!({}),
    }
    every_response_has_an_example_for_each_alternative {
        "/components/responses/Throttled/content/application~1json/examples" => Value::Null,
        "/components/responses/MonoOrStoreUnavailable/content/application~1problem+json/examples/MONO_UNAVAILABLE" => json!({}),
    }
    every_example_matches_its_schema {
        "/components/examples/HealthyAccount/value/balance" => json!("2296700"),
        "/components/examples/AccountPage/value/accounts/0/bvn" => json!("1"),
        "/components/headers/NoStore/example" => json!("max-age=1"),
        "/components/parameters/AccountId/example" => json!("a b"),
        "/components/examples/AccountNotFound/value/status" => json!(410),
        "/paths/~1webhooks~1mono/post/requestBody/content/application~1json/examples" => json!({ "none": { "value": "text" } }),
    }
    every_schema_is_a_json_schema {
        "/components/schemas/ReauthorisationRequest/type" => json!("thing"),
        "/components/schemas/ReauthorisationRequest/properties/ref/pattern" => json!("("),
    }
    every_component_is_used_and_every_reference_exists {
        "/components/schemas/Newcomer" => json!({}),
        "/components/parameters/Cursor" => Value::Null,
        "/components/securitySchemes/other" => json!({}),
        "/paths/~1accounts/get/parameters/1" => json!({ "$ref": "#/components/parameters/Offset" }),
    }
    every_own_object_is_closed_and_has_only_required_fields {
        "/components/schemas/Account/additionalProperties" => json!(true),
        "/components/schemas/Account/properties/bvn" => json!({}),
        "/components/schemas/SyncFailed/unevaluatedProperties" => Value::Null,
        "/components/schemas/SyncCooldown/required" => json!([]),
    }
}

#[test]
fn version_is_that_of_the_code() {
    let document = Contract::of_project().expect("a contract").document();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

/// The document with one value changed; null removes it.
fn document_with(pointer: &str, value: Value) -> Value {
    let mut document = Contract::of_project().expect("a contract").document().clone();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer has slashes");
    let key = key.replace("~1", "/");
    match document.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}")) {
        Value::Array(items) => items[key.parse::<usize>().expect("an index")] = value,
        Value::Object(fields) if value.is_null() => {
            fields.remove(&key);
        }
        parent => parent[key] = value,
    }
    document
}

/// The operations by their routes, such as `GET /accounts`.
fn operations(contract: &Contract) -> impl Iterator<Item = (String, &Value)> {
    entries(&contract.document()["paths"]).flat_map(|(path, item)| {
        entries(item)
            .filter(|(_, operation)| operation["responses"].is_object())
            .map(move |(method, it)| (format!("{} {path}", method.to_ascii_uppercase()), it))
    })
}

/// The media types of each response of each route, with their contents.
fn media_types(contract: &Contract) -> impl Iterator<Item = (String, &Value)> {
    operations(contract).flat_map(move |(route, operation)| {
        entries(&operation["responses"]).flat_map(move |(status, reply)| {
            let at = format!("{route} {status}");
            entries(&resolved(contract, reply)["content"])
                .map(move |(media_type, content)| (format!("{at} {media_type}"), content))
        })
    })
}

/// The alternatives of a schema with `oneOf`. Otherwise the schema itself.
fn alternatives<'a>(contract: &'a Contract, schema: &'a Value) -> Vec<&'a Value> {
    match &schema["oneOf"] {
        Value::Array(forms) => {
            forms.iter().map(|alternative| resolved(contract, alternative)).collect()
        }
        _ => vec![resolved(contract, schema)],
    }
}

/// The examples of a media type, a parameter or a header.
fn examples<'a>(contract: &'a Contract, part: &'a Value) -> impl Iterator<Item = &'a Value> {
    let many = entries(&part["examples"]).map(|(_, example)| &resolved(contract, example)["value"]);
    many.chain(part.get("example"))
}

fn differences(contract: &Contract, schema: &Value, value: &Value) -> Vec<String> {
    contract.differences(schema, value).unwrap_or_else(|error| vec![error.to_string()])
}

fn resolved<'a>(contract: &'a Contract, value: &'a Value) -> &'a Value {
    contract.resolve(value).unwrap_or_else(|error| panic!("{error}"))
}

/// Visits every object of the document, except those inside examples.
fn walk<'a>(at: &str, part: &'a Value, visit: &mut impl FnMut(&str, &'a Value)) {
    match part {
        Value::Object(fields) => {
            visit(at, part);
            for (name, field) in fields.iter().filter(|(name, _)| *name != "value") {
                walk(&format!("{at}/{name}"), field, visit);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(at, item, visit)),
        _ => {}
    }
}

fn entries(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
