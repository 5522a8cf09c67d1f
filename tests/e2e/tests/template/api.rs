//! The routes, who may call them, and the access log.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::contract::scopes;
use super::document::*;

fn only_the_webhook_route_is_open(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    for (id, route) in template.each(ROUTE) {
        let webhook = route["RouteKey"] == "POST /webhooks/mono";
        let authorization = &route["AuthorizationType"];
        let right = if webhook { authorization == "NONE" } else { template.closed(authorization) };
        if !right {
            found.push(format!("{id}: {authorization}"));
        }
    }
    found
}

/// With `AWS_IAM`, requests are signed. They need neither an authorizer nor a scope.
fn closed_routes_require_the_scope_of_their_method(template: &Template) -> Vec<String> {
    let authorizer = template.all(AUTHORIZER).next().unwrap_or_default();
    let mut found = Vec::new();
    for (condition, parameter) in
        [("UseReadScope", "JwtReadScope"), ("UseSyncScope", "JwtSyncScope")]
    {
        let given = json!({ "Fn::Not": [{ "Fn::Equals": [{ "Ref": parameter }, ""] }] });
        let both = json!({ "Fn::And": [{ "Condition": "UseJwt" }, given] });
        if template.0["Conditions"][condition] != both {
            found.push(format!("{condition}: unexpected condition"));
        }
    }
    for (id, route) in template.closed_routes() {
        let key = route["RouteKey"].as_str().unwrap_or_default();
        let method = key.split(' ').next().unwrap_or_default();
        let shape = json!({
            "Properties": {
                "AuthorizationType": when("UseJwt", &json!("JWT"), &json!("AWS_IAM")),
                "AuthorizerId": when("UseJwt", &json!({ "Ref": authorizer }), &no_value()),
                "AuthorizationScopes": scopes(method),
            },
        });
        found.extend(template.differences([id].into_iter(), &shape));
    }
    found
}

fn authorizer_checks_issuer_and_audience(template: &Template) -> Vec<String> {
    let shape = json!({
        "Condition": "UseJwt",
        "Properties": {
            "AuthorizerType": "JWT",
            "IdentitySource": ["$request.header.Authorization"],
            "JwtConfiguration": {
                "Issuer": { "Ref": "JwtIssuer" },
                "Audience": { "Fn::Split": [",", { "Ref": "JwtAudience" }] },
            },
        },
    });
    let mut found = template.differences(template.all(AUTHORIZER), &shape);
    let jwt = json!({ "Fn::Equals": [{ "Ref": "ApiAuthorization" }, "JWT"] });
    if template.0["Conditions"]["UseJwt"] != jwt {
        found.push("UseJwt: unexpected condition".to_owned());
    }
    let required = values(&template.0["Rules"])
        .filter(|rule| rule["RuleCondition"] == jwt)
        .flat_map(|rule| one_or_many(&rule["Assertions"]));
    let required: Vec<_> = required.map(|assertion| &assertion["Assert"]).collect();
    for parameter in ["JwtIssuer", "JwtAudience", "JwtOwnerClaim"] {
        let given = json!({ "Fn::Not": [{ "Fn::Equals": [{ "Ref": parameter }, ""] }] });
        if !required.contains(&&given) {
            found.push(format!("JWT is accepted without {parameter}"));
        }
    }
    found
}

/// Without the claim, every caller with a token could read all accounts.
fn functions_behind_closed_routes_have_the_owner_claim(template: &Template) -> Vec<String> {
    let claim = when("UseJwt", &json!({ "Ref": "JwtOwnerClaim" }), &json!("none"));
    let shape =
        json!({ "Properties": { "Environment": { "Variables": { "OWNER_CLAIM": claim } } } });
    let functions: BTreeSet<_> =
        template.closed_routes().filter_map(|(_, route)| template.function_of(route)).collect();
    template.differences(functions.into_iter(), &shape)
}

fn cors_allows_only_the_configured_origin(template: &Template) -> Vec<String> {
    let cors = json!({
        "AllowOrigins": [{ "Ref": "CorsAllowOrigin" }],
        "AllowMethods": ["GET", "POST", "PATCH", "DELETE"],
        "AllowHeaders": [
            "authorization", "content-type", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token",
        ],
        "ExposeHeaders": ["x-request-id", "retry-after", "apigw-requestid"],
        "MaxAge": 3600,
    });
    let cors = when("HasCorsAllowOrigin", &cors, &no_value());
    let shape = json!({ "Properties": { "CorsConfiguration": cors } });
    let mut found = template.differences(template.all(API), &shape);
    let given = json!({ "Fn::Not": [{ "Fn::Equals": [{ "Ref": "CorsAllowOrigin" }, ""] }] });
    if template.0["Conditions"]["HasCorsAllowOrigin"] != given {
        found.push("HasCorsAllowOrigin: unexpected condition".to_owned());
    }
    found
}

fn each_route_has_a_throttle_of_its_own(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    for (id, stage) in template.each(STAGE) {
        let settings = &stage["RouteSettings"];
        // API Gateway rejects settings for a route that does not exist yet.
        let waits_for = strings(&template.resource(id)["DependsOn"]);
        for (route, properties) in template.each(ROUTE) {
            let key = properties["RouteKey"].as_str().unwrap_or_default();
            for limit in ["ThrottlingRateLimit", "ThrottlingBurstLimit"] {
                if settings[key][limit].as_i64() <= Some(0) {
                    found.push(format!("{route}: no {limit}"));
                }
            }
            if !waits_for.contains(&route) {
                found.push(format!("{id}: may be created before {route}"));
            }
        }
        if values(settings).count() != template.all(ROUTE).count() {
            found.push(format!("{id}: settings for routes that do not exist"));
        }
    }
    found
}

fn api_may_invoke_each_function_only_on_its_routes(template: &Template) -> Vec<String> {
    let granted: BTreeSet<String> = template
        .each("AWS::Lambda::Permission")
        .map(|(_, permission)| {
            let function = referent(&permission["FunctionName"]).unwrap_or("any function");
            let source = permission["SourceArn"]["Fn::Sub"].as_str();
            let route = source.and_then(|arn| arn.split_once("${HttpApi}/*/"));
            format!("{function} on {}", route.map_or("anything", |(_, path)| path))
        })
        .collect();
    let needed: BTreeSet<String> = template
        .each(ROUTE)
        .map(|(_, route)| {
            let function = template.function_of(route).unwrap_or("nothing");
            let key = route["RouteKey"].as_str().unwrap_or_default();
            format!("{function} on {}", source_path(key))
        })
        .collect();
    granted.symmetric_difference(&needed).cloned().collect()
}

/// The access log identifies the call and the caller, and holds no private data.
fn access_log_lines_hold_no_query_body_address_or_name(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    for (id, stage) in template.each(STAGE) {
        let log = &stage["AccessLogSettings"];
        let format = log["Format"].as_str().unwrap_or_default();
        let line = format.replace("$context.status", "200");
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        if line["request_id"] != "$context.requestId" {
            found.push(format!("{id}: the line has no request id: {line}"));
        }
        if ["sourceIp", "path", "query", "userAgent"].iter().any(|private| format.contains(private))
        {
            found.push(format!("{id}: logs private data"));
        }
        let group = referent(&log["DestinationArn"]).unwrap_or_default();
        let kept = &template.properties(group)["RetentionInDays"];
        if *kept != json!({ "Ref": "AccessLogRetentionDays" }) {
            found.push(format!("{id}: log retention is {kept}"));
        }
    }
    found
}

rules! {
    access_log_lines_hold_no_query_body_address_or_name {
        "/HttpApiStage/Properties/AccessLogSettings" => Value::Null,
        "/HttpApiStage/Properties/AccessLogSettings/Format" => json!("$context.requestId"),
        "/HttpApiStage/Properties/AccessLogSettings/DestinationArn" => get_att("WebhookLogGroup"),
    }
    only_the_webhook_route_is_open {
        "/AccountRoute/Properties/AuthorizationType" => Value::Null,
        "/AccountRoute/Properties/AuthorizationType" => json!("NONE"),
        "/AccountRoute/Properties/AuthorizationType" => json!({ "Fn::If": ["Jwt", "JWT", "NONE"] }),
        "/AccountRoute/Properties/AuthorizationType" => json!({ "Ref": "AlarmEmail" }),
    }
    closed_routes_require_the_scope_of_their_method {
        "/SyncRoute/Properties/AuthorizationScopes" => Value::Null,
        "/SyncRoute/Properties/AuthorizationScopes/Fn::If/1/0" => json!("accounts:read"),
        "/AccountRoute/Properties/AuthorizationScopes/Fn::If/1/0" => json!("accounts:sync"),
        "/EventsRoute/Properties/AuthorizationScopes" => json!(["accounts:read"]),
        "/AccountsRoute/Properties/AuthorizationType" => json!("AWS_IAM"),
        "/ReauthoriseRoute/Properties/AuthorizerId" => json!({ "Ref": "JwtAuthorizer" }),
    }
    authorizer_checks_issuer_and_audience {
        "/JwtAuthorizer/Condition" => Value::Null,
        "/JwtAuthorizer/Properties/AuthorizerType" => json!("REQUEST"),
        "/JwtAuthorizer/Properties/IdentitySource/0" => json!("$request.querystring.token"),
        "/JwtAuthorizer/Properties/JwtConfiguration/Issuer" => json!("https://example.com"),
        "/JwtAuthorizer/Properties/JwtConfiguration/Audience" => json!([]),
        "//Conditions/UseJwt" => json!({ "Fn::Equals": [{ "Ref": "JwtIssuer" }, ""] }),
        "//Rules/JwtIsComplete/RuleCondition" => Value::Null,
        "//Rules/JwtIsComplete/Assertions/0/Assert" => Value::Null,
        "//Rules/JwtIsComplete/Assertions/1/Assert" => Value::Null,
        "//Rules/JwtIsComplete/Assertions/2/Assert" => Value::Null,
    }
    functions_behind_closed_routes_have_the_owner_claim {
        "/AccountsFunction/Properties/Environment/Variables/OWNER_CLAIM" => Value::Null,
        "/ManualSyncFunction/Properties/Environment/Variables/OWNER_CLAIM" => json!(""),
    }
    cors_allows_only_the_configured_origin {
        "/HttpApi/Properties/CorsConfiguration" => Value::Null,
        "/HttpApi/Properties/CorsConfiguration/Fn::If/1/AllowOrigins" => json!(["*"]),
        "/HttpApi/Properties/CorsConfiguration/Fn::If/1/AllowCredentials" => json!(true),
        "/HttpApi/Properties/CorsConfiguration/Fn::If/1/AllowHeaders" => json!(["authorization", "content-type"]),
        "/HttpApi/Properties/CorsConfiguration/Fn::If/2" => json!({ "AllowOrigins": ["*"] }),
        "//Conditions/HasCorsAllowOrigin" => Value::Null,
    }
    each_route_has_a_throttle_of_its_own {
        "/HttpApiStage/DependsOn" => json!(["WebhookRoute"]),
        "/HttpApiStage/Properties/RouteSettings/POST ~1webhooks~1mono" => Value::Null,
        "/HttpApiStage/Properties/RouteSettings/GET ~1nowhere" => json!({}),
    }
    api_may_invoke_each_function_only_on_its_routes {
        "/WebhookPermission/Properties/SourceArn" => Value::Null,
        "/WebhookPermission/Properties/SourceArn" => json!({ "Fn::Sub": "arn:aws:execute-api:${HttpApi}/*" }),
        "/WebhookPermission/Properties/FunctionName" => json!({ "Ref": "AccountsFunction" }),
    }
}

#[test]
fn route_may_be_closed_by_condition_or_parameter() {
    let by_condition = json!({ "Fn::If": ["Jwt", "JWT", "AWS_IAM"] });
    let by_parameter = json!({ "Ref": "ApiAuthorization" });
    for authorization in [by_condition, by_parameter] {
        let template = Template::load()
            .with("//Parameters/ApiAuthorization", json!({ "AllowedValues": ["AWS_IAM", "JWT"] }))
            .with("/AccountRoute/Properties/AuthorizationType", authorization);
        assert_eq!(only_the_webhook_route_is_open(&template), Vec::<String>::new());
    }
}
