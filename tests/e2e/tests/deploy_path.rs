//! Tests `make deploy` and `make set-secret` against the emulator, with the real prompts of SAM.

#![allow(clippy::unwrap_used, reason = "a missing value fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use e2e::emulator::{Emulator, free_port};
use e2e::project;
use rexpect::reader::Options;
use rexpect::session::{PtySession, spawn_with_options};

/// A project that is already built. A stand-in for `sam build` copies its configuration to the file
/// `built`.
struct Checkout {
    folder: PathBuf,
    endpoint: String,
}

/// The parameters that SAM prompts for, with the default values that it offers.
type Offered = BTreeMap<String, String>;

impl Checkout {
    fn new(emulator: &Emulator) -> Self {
        let folder = project().join(format!("target/local/deploy-{}", emulator.port()));
        copy(&project().join(".aws-sam/local"), &folder.join(".aws-sam/build"));
        copy(&project().join("tests/tools"), &folder.join("tests/tools"));
        fs::copy(project().join("template.yaml"), folder.join("template.yaml")).unwrap();
        let sam = project().join(".venv/bin/sam");
        let stand_in = format!(
            "#!/bin/sh\n[ \"$1\" = build ] && exec cp samconfig.toml built\nexec {} \"$@\"\n",
            sam.display()
        );
        fs::create_dir(folder.join("bin")).unwrap();
        fs::write(folder.join("bin/sam"), stand_in).unwrap();
        fs::set_permissions(folder.join("bin/sam"), fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, endpoint: emulator.endpoint() }
    }

    fn command(&self, program: &str) -> Command {
        let tools = project().join(".venv/bin");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command
            .current_dir(&self.folder)
            .env("PATH", format!("{}/bin:{}:{path}", self.folder.display(), tools.display()))
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_DEFAULT_REGION", "eu-west-1")
            .env("SAM_CLI_TELEMETRY", "0");
        command
    }

    /// Deploys as `make deploy` does, with these answers and otherwise the offered defaults. Returns the
    /// offered defaults.
    fn deploy(&self, answers: &[(&str, &str)]) -> Offered {
        let options = Options::new().timeout_ms(Some(120_000)).strip_ansi_escape_codes(true);
        let mut sam = spawn_with_options(self.command("tests/tools/deploy"), options).unwrap();
        let mut offered = Offered::new();
        question(&mut sam, "Stack Name", "");
        question(&mut sam, "AWS Region", "");
        loop {
            let prompt = r"Parameter \w+( \[[^\n]*\])?: |Confirm changes before deploy [^\n]*: ";
            let (_, prompt) = sam.exp_regex(prompt).unwrap();
            let Some(parameter) = prompt.strip_prefix("Parameter ") else {
                reply(&mut sam, "n");
                break;
            };
            let parameter = parameter.trim_end_matches(": ");
            let (name, default) = parameter.split_once(" [").unwrap_or((parameter, ""));
            offered.insert(name.to_owned(), default.trim_end_matches(']').to_owned());
            let answer = answers.iter().find(|(asked, _)| *asked == name);
            reply(&mut sam, answer.map_or("", |(_, answer)| answer));
        }
        for other in [
            "role creation",
            "Disable rollback",
            "Save arguments",
            "configuration file",
            "environment",
        ] {
            question(&mut sam, other, "");
        }
        sam.exp_string("Successfully created/updated stack").unwrap();
        sam.exp_eof().unwrap();
        offered
    }

    fn set_secret(&self, arguments: &[&str], value: &str) -> bool {
        let mut command = self.command("tests/tools/set-secret");
        let mut child = command.args(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
        child.wait().unwrap().success()
    }

    /// The stack's parameters, and the values of its secrets by resource name.
    fn state(&self) -> BTreeMap<String, String> {
        let script = r#"
import boto3, json
stack = boto3.client("cloudformation").describe_stacks(StackName="sam-app")["Stacks"][0]
state = {p["ParameterKey"]: p["ParameterValue"] for p in stack["Parameters"]}
secrets = boto3.client("secretsmanager")
for secret in secrets.list_secrets()["SecretList"]:
    state[secret["Name"].split("-")[2]] = secrets.get_secret_value(SecretId=secret["ARN"])["SecretString"]
print(json.dumps(state))
"#;
        let output = self.command("python3").args(["-c", script]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The architecture of the last build.
    fn built(&self) -> String {
        let kept = fs::read_to_string(self.folder.join("built")).unwrap();
        let build = kept.split("[default.build.parameters]").nth(1).unwrap();
        let quoted = build.split("Architecture=").nth(1).unwrap();
        quoted
            .chars()
            .skip_while(|c| !c.is_alphanumeric())
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn question(sam: &mut PtySession, text: &str, answer: &str) {
    sam.exp_regex(&format!(r"{text}[^\n]*\]: ")).unwrap();
    reply(sam, answer);
}

fn reply(sam: &mut PtySession, answer: &str) {
    // Input that arrives before the prompt has turned off the echo is lost.
    sleep(Duration::from_millis(300));
    sam.send_line(answer).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deploy_keeps_earlier_answers_and_set_secret_changes_one_secret() {
    let emulator = Emulator::start(free_port().unwrap(), None).await.unwrap();
    let checkout = Checkout::new(&emulator);
    let secrets = [("MonoSecretKey", "test_sk_1"), ("MonoWebhookSecret", "unset")];
    let chosen = [
        ("Architecture", "x86_64"),
        ("CorsAllowOrigin", "https://app.example"),
        ("MonoDailyBudget", "1000"),
        ("AlarmEmail", "ops@example.com"),
    ];
    checkout.deploy(&[&secrets[..], &chosen[..]].concat());
    assert_eq!(checkout.built(), "x86_64", "the build is for the chosen architecture");
    let first = checkout.state();
    for (name, answer) in chosen {
        assert_eq!(first[name], answer);
    }
    assert_eq!(
        (first["WebhookSecret"].as_str(), first["MonoKey"].as_str()),
        ("unset", "test_sk_1")
    );

    assert!(checkout.set_secret(&["MonoWebhookSecret"], "second\n"));
    let mut expected = first.clone();
    expected.insert("WebhookSecret".to_owned(), "second".to_owned());
    assert_eq!(checkout.state(), expected, "only that secret changes");
    assert!(!checkout.set_secret(&["MonoWebhookSecret"], "\n"), "an empty secret is refused");
    assert_eq!(checkout.state(), expected);

    // As the runbook does it when the secret has leaked.
    let arguments = ["MonoWebhookSecret", "PreviousSecretHours=0"];
    assert!(checkout.set_secret(&arguments, "third\n"));
    expected.insert("WebhookSecret".to_owned(), "third".to_owned());
    expected.insert("PreviousSecretHours".to_owned(), "0".to_owned());
    assert_eq!(checkout.state(), expected, "that secret and that parameter change");

    let secrets = [("MonoSecretKey", "test_sk_1"), ("MonoWebhookSecret", "third")];
    let offered = checkout.deploy(&[&secrets[..], &[("LogRetentionDays", "60")]].concat());
    expected.insert("LogRetentionDays".to_owned(), "60".to_owned());
    for (name, answer) in chosen {
        assert_eq!(offered[name], answer, "the earlier answer is offered as the default");
    }
    assert_eq!(offered["PreviousSecretHours"], "0");
    assert_eq!(checkout.state(), expected);
    assert_eq!(checkout.built(), "x86_64");
}
