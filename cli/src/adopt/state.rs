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

#[derive(Serialize, Deserialize)]
struct Part {
    page: u32,
    adopted: Vec<String>,
}

impl State {
    /// Reads the progress of earlier runs.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let mut state = Self { file: None, page: 1, done: HashSet::new() };
        let Some(path) = path else {
            return Ok(state);
        };
        let options = OpenOptions::new().read(true).append(true).create(true).clone();
        let file = options.open(path)?;
        let mut length = 0;
        let mut reader = BufReader::new(&file);
        let mut line = String::new();
        while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
            let part: Part = serde_json::from_str(&line).map_err(|_| not_a_state_file(path))?;
            state.page = part.page;
            state.done.extend(part.adopted.iter().filter_map(|id| id.parse().ok()));
            length += line.len() as u64;
            line.clear();
        }
        file.set_len(length)?;
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
            let line = format!("{}\n", serde_json::to_string(&part)?);
            file.write_all(line.as_bytes())?;
            file.sync_data()?;
        }
        self.page = page;
        self.done.extend(adopted);
        Ok(())
    }
}

fn not_a_state_file(path: &Path) -> io::Error {
    let message = format!("{} is not a state file of mono-sync adopt", path.display());
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
        let mut state = State::open(Some(&path)).unwrap();
        state.add(1, vec![id(1), id(2)]).unwrap();
        state.add(2, vec![id(3)]).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}{{\"page\":3,\"adop")).unwrap();

        let mut state = State::open(Some(&path)).unwrap();
        assert_eq!((state.page(), state.done()), (2, 3));
        assert!(state.is_done(&id(3)) && !state.is_done(&id(4)));
        state.add(3, vec![id(4)]).unwrap();
        let state = State::open(Some(&path)).unwrap();
        assert_eq!((state.page(), state.done()), (3, 4));

        fs::write(&path, "something else\n").unwrap();
        assert!(State::open(Some(&path)).is_err());
        fs::remove_dir_all(&directory).unwrap();
    }
}
