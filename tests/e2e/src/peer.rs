//! Finds the process at the other end of a loopback connection, from `/proc`.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::process::Command;

/// Kills the process that owns this end of a connection, at once and without a warning. A function
/// dies like this when it runs out of memory or loses its machine.
///
/// # Errors
///
/// If no process owns the end, if it is this process, or if it cannot be killed.
pub(crate) fn kill(peer: SocketAddr) -> io::Result<()> {
    let process = process_of(peer)?
        .ok_or_else(|| io::Error::other("no process owns that end of the connection"))?;
    if process == std::process::id() {
        return Err(io::Error::other("this process owns that end of the connection"));
    }
    let killed = Command::new("kill").args(["-KILL", &process.to_string()]).status()?;
    if killed.success() { Ok(()) } else { Err(io::Error::other("the process could not be killed")) }
}

fn process_of(peer: SocketAddr) -> io::Result<Option<u32>> {
    let Some(inode) = inode_of(peer.port())? else {
        return Ok(None);
    };
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc")?.flatten().filter_map(|entry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((id, entry.path().join("fd")))
    });
    let holds = |descriptors: fs::ReadDir| {
        let mut links = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        links.any(|link| link.to_str() == Some(&socket))
    };
    let mut holding =
        processes.filter(|(_, descriptors)| fs::read_dir(descriptors).is_ok_and(holds));
    Ok(holding.next().map(|(id, _)| id))
}

/// The inode of the connected socket with this local port on loopback.
fn inode_of(port: u16) -> io::Result<Option<String>> {
    let local = format!("0100007F:{port:04X}");
    let connections = fs::read_to_string("/proc/net/tcp")?;
    let fields = |line: &'_ str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut connections = connections.lines().skip(1).map(fields);
    let established = |fields: &Vec<String>| fields[1] == local && fields[3] == "01";
    Ok(connections.find(established).map(|fields| fields[9].clone()))
}
