//! The shared code of the functions of mono-sync. Each of these modules uses only the modules listed above it:
//!
//! - [`domain`]: the rules. They are pure: no AWS, no I/O, no clock.
//! - [`aws`]: DynamoDB, SQS and Secrets Manager.
//! - [`mono`]: Mono's two APIs.
//! - [`receiver`]: HTTP requests to the fintech's own systems.
//! - [`lambda`]: Lambda's events, and the start of a function.
//! - [`app`]: the use cases. They combine the modules above.
//! - [`http`]: requests, responses and errors of the API.

pub mod app;
pub mod aws;
mod clock;
pub mod domain;
pub mod http;
pub mod lambda;
pub mod mono;
pub mod random;
pub mod receiver;

#[cfg(test)]
mod floors {
    use std::fs;
    use std::path::{Path, PathBuf};

    /// Names that the domain must not contain: AWS, Lambda, I/O and the clock.
    const OUTSIDE: [&str; 10] = [
        "aws_",
        "lambda_",
        "tokio",
        "reqwest",
        "std::fs",
        "std::env",
        "std::net",
        "SystemTime",
        "Instant",
        "Timestamp::now",
    ];
    /// The modules, from the lowest floor to the highest. A floor may use only lower floors.
    const FLOORS: [&str; 7] = ["domain", "aws", "mono", "receiver", "lambda", "app", "http"];

    fn files(path: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }

    /// The files of a floor, each with its text.
    fn sources(floor: &str) -> Vec<(PathBuf, String)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let files = files(&root.join(floor)).into_iter().chain([root.join(format!("{floor}.rs"))]);
        files.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
    }

    #[test]
    fn domain_does_not_name_aws_io_or_the_clock() {
        let sources = sources("domain");
        assert!(sources.len() > 20, "{}", sources.len());
        for (path, text) in sources {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                let outside = OUTSIDE.iter().find(|name| line.contains(**name));
                assert_eq!(outside, None, "{}: {line}", path.display());
            }
        }
    }

    #[test]
    fn module_uses_only_lower_modules() {
        for (height, floor) in FLOORS.iter().enumerate() {
            for (path, text) in sources(floor) {
                for higher in &FLOORS[height + 1..] {
                    let name = format!("crate::{higher}::");
                    assert!(!text.contains(&name), "{} uses {name}", path.display());
                }
            }
        }
    }
}
