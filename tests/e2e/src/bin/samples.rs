//! Writes the sample events to `events/`.

use std::fs;
use std::io;

fn main() -> io::Result<()> {
    let folder = e2e::project().join("events");
    for (path, sample) in e2e::samples::all() {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&folder))?;
        fs::write(path, format!("{sample:#}\n"))?;
    }
    Ok(())
}
