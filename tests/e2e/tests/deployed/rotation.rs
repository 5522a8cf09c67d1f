//! Rotation of the webhook secret while webhooks arrive.

use aws_sdk_secretsmanager::Client;
use e2e::proxy::Failure;
use e2e::samples::LOCAL_KEY;
use e2e::shared_stack::{aside, local};
use e2e::stack::Stack;
use reqwest::Method;
use tokio::time::{Duration, sleep};

use super::{eventually, fail};

async fn status(stack: &Stack, secret: &str) -> u16 {
    let request = stack.request(Method::POST, "/webhooks/mono");
    let request = request.header("mono-webhook-secret", secret).body("{}");
    request.send().await.unwrap().status().as_u16()
}

async fn accepted(stack: &Stack, secret: &str) {
    eventually("the secret is accepted", async || status(stack, secret).await == 200).await;
}

#[tokio::test]
async fn stack_without_a_secret_refuses_every_webhook_and_rotation_needs_no_redeploy() {
    // The first of two deployments has the template's default secret.
    const KEY: (&str, &str) = ("MonoSecretKey", LOCAL_KEY);
    let stack = aside(Stack::deploy(&local().emulator, "rotation", &[KEY])).unwrap();
    let secret = stack.resource("WebhookSecret");
    for failures in [&[Failure::AccessDenied][..], &[Failure::Hang; 3]] {
        fail("GetSecretValue", secret, failures);
        assert_eq!(
            status(&stack, "anything").await,
            503,
            "an unreadable secret is not a wrong secret"
        );
        sleep(Duration::from_secs(1)).await;
    }
    for secret in ["unset", "", "the-first-secret"] {
        assert_eq!(status(&stack, secret).await, 401, "{secret}");
    }

    let parameters = &[KEY, ("MonoWebhookSecret", "the-first-secret")];
    let stack = aside(Stack::deploy(&local().emulator, "rotation", parameters)).unwrap();
    accepted(&stack, "the-first-secret").await;
    assert_eq!(status(&stack, "unset").await, 401);

    let secrets = Client::new(&stack.sdk());
    let rotate = secrets.put_secret_value().secret_id(stack.resource("WebhookSecret"));
    rotate.secret_string("the-newer-secret").send().await.unwrap();
    accepted(&stack, "the-newer-secret").await;
    // Mono may still retry with it.
    accepted(&stack, "the-first-secret").await;
    assert_eq!(status(&stack, "another-secret-1").await, 401);

    // As the runbook does it when the secret has leaked.
    let parameters =
        &[KEY, ("MonoWebhookSecret", "the-final-secret"), ("PreviousSecretHours", "0")];
    let stack = aside(Stack::deploy(&local().emulator, "rotation", parameters)).unwrap();
    accepted(&stack, "the-final-secret").await;
    for old in ["the-newer-secret", "the-first-secret", "unset"] {
        assert_eq!(status(&stack, old).await, 401, "{old}");
    }
    let checked = check_of_the_runbook(&stack, "the-newer-secret").await;
    assert!(checked.contains("401"), "{checked}");
}

/// The output of the command with which the runbook checks that the old secret is refused.
async fn check_of_the_runbook(stack: &Stack, old_secret: &str) -> String {
    let runbook = std::fs::read_to_string(e2e::project().join("docs/runbook.md")).unwrap();
    let (_, section) = runbook.split_once("### The webhook secret has leaked").unwrap();
    let command = section.split('`').find(|code| code.starts_with("curl ")).unwrap();
    let command = command.replace("<old secret>", old_secret);
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", &command]);
    let output = shell.env("WEBHOOK_URL", stack.webhook_url()).output().await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}
