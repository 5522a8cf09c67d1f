//! Programs that must not outlive the process that started them.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A program that ends with this handle. It also ends with this process, even after a crash.
#[derive(Debug)]
pub struct Companion(Child);

/// Starts the program and waits for the end of its own standard input. That is a pipe: the kernel
/// closes it when the process at the other end is gone. Then the script ends the program by its id
/// and removes its temporary files.
const KEEPER: &str = r#"
"$@" </dev/null & child=$!
trap 'kill $child 2>/dev/null; wait $child; rm -rf "$TMPDIR"; exit 0' INT TERM
exec 3<&0
{ cat <&3 >/dev/null; kill $child 2>/dev/null; } & watch=$!
wait $child; status=$?
kill $watch 2>/dev/null
rm -rf "$TMPDIR"
exit $status
"#;

impl Companion {
    /// Starts a program. Its output goes to a file, and its temporary files to a folder beside it.
    ///
    /// # Errors
    ///
    /// If the program cannot be started, or the file cannot be written.
    pub fn start(command: &mut Command, log: &Path) -> io::Result<Self> {
        let scratch = log.with_extension("tmp");
        std::fs::create_dir_all(&scratch)?;
        let output = std::fs::File::create(log)?;
        let program = command.get_program().to_owned();
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(program).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => keeper.env(name, value),
                None => keeper.env_remove(name),
            };
        }
        keeper.env("TMPDIR", scratch);
        if let Some(folder) = command.get_current_dir() {
            keeper.current_dir(folder);
        }
        keeper.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output).spawn().map(Self)
    }

    /// Whether the program has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
