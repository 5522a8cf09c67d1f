"""The answers that `sam deploy --guided` stores in samconfig.toml."""

import re
from pathlib import Path

import tomlkit

FILE = Path("samconfig.toml")


def parameters(command):
    """The stored parameters of `sam build` or `sam deploy`."""
    return _read().get("default", {}).get(command, {}).get("parameters", {})


def architecture():
    """The last answer for the architecture, or None."""
    answer = _answer("Architecture").search(parameters("deploy").get("parameter_overrides", ""))
    return answer and answer[1]


def keep(parameter, value, commands):
    """Stores this value, so that these commands of SAM (`build`, `deploy`) use it and offer it as the default."""
    file, answer = _read(), f'{parameter}="{value}"'
    default = file.setdefault("default", tomlkit.table())
    for command in commands:
        kept = default.setdefault(command, tomlkit.table()).setdefault("parameters", tomlkit.table())
        others = _answer(parameter).sub("", kept.get("parameter_overrides", ""))
        kept["parameter_overrides"] = " ".join([answer, *others.split(" ")]).strip()
    FILE.write_text(tomlkit.dumps(file))


def _answer(parameter):
    return re.compile(rf'\b{parameter}="?(\w+)"?')


def _read():
    return tomlkit.parse(FILE.read_text() if FILE.exists() else "version = 0.1\n")
