"""The answers that `sam deploy --guided` keeps, in samconfig.toml."""

import re
from pathlib import Path

import tomlkit

FILE = Path("samconfig.toml")
ARCHITECTURE = re.compile(r'\bArchitecture="?(\w+)"?')


def parameters(command):
    """What is kept for `sam build` or `sam deploy`."""
    return _read().get("default", {}).get(command, {}).get("parameters", {})


def architecture():
    """The architecture that was answered last, or None."""
    answer = ARCHITECTURE.search(parameters("deploy").get("parameter_overrides", ""))
    return answer and answer[1]


def keep_architecture(architecture):
    """Has `sam build` build for it, and `sam deploy` offer it."""
    file, answer = _read(), f'Architecture="{architecture}"'
    default = file.setdefault("default", tomlkit.table())
    for command in ["build", "deploy"]:
        kept = default.setdefault(command, tomlkit.table()).setdefault("parameters", tomlkit.table())
        others = ARCHITECTURE.sub("", kept.get("parameter_overrides", ""))
        kept["parameter_overrides"] = " ".join([answer, *others.split(" ")]).strip()
    FILE.write_text(tomlkit.dumps(file))


def _read():
    return tomlkit.parse(FILE.read_text() if FILE.exists() else "version = 0.1\n")
