//! A file with the progress of an adoption, so that a stopped run can continue.
//!
//! Each line is the JSON of a part: its page of Mono's list, and the adopted accounts. A line is written after its
//! accounts. If a crash has cut off a line, the line is removed. Its accounts are adopted again, which changes nothing.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use mono_sync::domain::account_id::AccountId;
use serde::{Deserialize, Serialize};

pub(super) struct State {
    /// `None`: the progress is kept only in memory.
    file: Option<File>,
    page: u32,
    done: HashSet<AccountId>,
}

/// The first line of the file. A file of another stack, or of a run without imports, would skip accounts.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// The table of accounts.
    pub(super) table: String,
    /// Whether imports are requested.
    pub(super) transactions: bool,
}

#[derive(Serialize, Deserialize)]
struct Part {
    page: u32,
    adopted: Vec<String>,
}

impl State {
    /// Reads the progress of earlier runs with the same header.
    pub(super) fn open(path: Option<&Path>, header: &Header) -> io::Result<Self> {
        let mut state = Self { file: None, page: 1, done: HashSet::new() };
        let Some(path) = path else {
            return Ok(state);
        };
        let options = OpenOptions::new().read(true).append(true).create(true).clone();
        let mut file = options.open(path)?;
        let mut lines = BufReader::new(&file);
        let mut length = 0;
        if let Some(line) = whole_line(&mut lines)? {
            let invalid = || not_a_state_file(path, "it is no state file of this command");
            let found: Header = serde_json::from_str(&line).map_err(|_| invalid())?;
            if found != *header {
                return Err(not_a_state_file(path, &format!("it belongs to {found:?}")));
            }
            length += line.len();
            while let Some(line) = whole_line(&mut lines)? {
                let part: Part = serde_json::from_str(&line).map_err(|_| invalid())?;
                state.page = part.page;
                state.done.extend(part.adopted.iter().filter_map(|id| id.parse().ok()));
                length += line.len();
            }
        }
        if length > 0 {
            file.set_len(length as u64)?;
        } else if file.metadata()?.len() == 0 {
            write_line(&mut file, header)?;
        } else {
            return Err(not_a_state_file(path, "it is no state file of this command"));
        }
        state.file = Some(file);
        Ok(state)
    }

    /// The page at which the next run begins. Some of its accounts may already be adopted.
    pub(super) const fn page(&self) -> u32 {
        self.page
    }

    /// The number of adopted accounts.
    pub(super) fn done(&self) -> usize {
        self.done.len()
    }

    pub(super) fn is_done(&self, id: &AccountId) -> bool {
        self.done.contains(id)
    }

    /// Notes accounts of a page as adopted.
    pub(super) fn add(&mut self, page: u32, adopted: Vec<AccountId>) -> io::Result<()> {
        if let Some(file) = &mut self.file
            && (page != self.page || !adopted.is_empty())
        {
            let part = Part { page, adopted: adopted.iter().map(ToString::to_string).collect() };
            write_line(file, &part)?;
        }
        self.page = page;
        self.done.extend(adopted);
        Ok(())
    }
}

fn write_line(file: &mut File, value: &impl Serialize) -> io::Result<()> {
    file.write_all(format!("{}\n", serde_json::to_string(value)?).as_bytes())?;
    file.sync_data()
}

/// The next line, unless a crash has cut it off.
fn whole_line(lines: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    lines.read_line(&mut line)?;
    Ok(line.ends_with('\n').then_some(line))
}

fn not_a_state_file(path: &Path, reason: &str) -> io::Error {
    let message = format!("{} cannot be continued: {reason}", path.display());
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn id(number: u8) -> AccountId {
        format!("{number:024}").parse().unwrap()
    }

    #[test]
    fn state_is_read_back_without_a_line_that_was_cut_off() {
        let directory = std::env::temp_dir().join(format!("adopt-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("state");
        let open = |table: &str| {
            State::open(Some(&path), &Header { table: table.to_owned(), transactions: true })
        };
        let mut state = open("accounts").unwrap();
        state.add(1, vec![id(1), id(2)]).unwrap();
        state.add(2, vec![id(3)]).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}{{\"page\":3,\"adop")).unwrap();

        let mut state = open("accounts").unwrap();
        assert_eq!((state.page(), state.done()), (2, 3));
        assert!(state.is_done(&id(3)) && !state.is_done(&id(4)));
        state.add(3, vec![id(4)]).unwrap();
        let state = open("accounts").unwrap();
        assert_eq!((state.page(), state.done()), (3, 4));

        let other = open("accounts of another stack").map(|_| ()).unwrap_err();
        assert!(other.to_string().contains("it belongs to"), "{other}");

        for text in ["something else\n", "something else"] {
            fs::write(&path, text).unwrap();
            assert!(open("accounts").is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), text, "the file stays as it is");
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}
