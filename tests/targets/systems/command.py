"""Small programs that change files, write down each change, and can misbehave: runbooks as people write them."""

from pathlib import Path
from typing import Any

CONFLICT_CODE = 10
SECRET = "never to be told"

SET_SIZE = """#!/bin/sh
# set-size TARGET SIZE BEFORE
set -eu
cd "$(dirname "$0")"
. "./$1.env"
test -e unavailable && exit 69
test "$size" = "$3" || test "$size" = "$2" || { echo "size is $size, not $3"; exit 10; }
echo "set-size $1 $2" >> history
echo "authenticated by $PASSWORD"
printf 'size=%s\\nready=%s\\nstarted=%s\\n' "$2" "$ready" "$started" > "$1.env"
test -e half && exit 3
test -e slow && sleep 300
printf 'size=%s\\nready=%s\\nstarted=%s\\n' "$2" "$2" "$started" > "$1.env"
"""
CHECK_SIZE = """#!/bin/sh
# check-size TARGET SIZE
cd "$(dirname "$0")"
. "./$1.env"
test "$size" = "$2" && test "$ready" = "$2" && exit 0
echo "size $size -> $2"
exit 1
"""
PUT_BACK = """#!/bin/sh
# put-back TARGET SIZE
cd "$(dirname "$0")"
. "./$1.env"
echo "put-back $1 $2" >> history
printf 'size=%s\\nready=%s\\nstarted=%s\\n' "$2" "$2" "$started" > "$1.env"
"""
RESTART = """#!/bin/sh
# restart TARGET
set -eu
cd "$(dirname "$0")"
. "./$1.env"
echo "restart $1" >> history
printf 'size=%s\\nready=%s\\nstarted=%s\\n' "$size" "$ready" "$((started + 1))" > "$1.env"
"""
RESTARTED = """#!/bin/sh
# restarted TARGET STARTED-BEFORE
cd "$(dirname "$0")"
. "./$1.env"
test "$started" -gt "$2"
"""
ANNOUNCE = """#!/bin/sh
# announce TARGET KEY
cd "$(dirname "$0")"
test -e unavailable && exit 75
echo "announce $1 $2" >> history
test -e half && exit 3
exit 0
"""
PROGRAMS = {
    "set-size": SET_SIZE,
    "check-size": CHECK_SIZE,
    "put-back": PUT_BACK,
    "restart": RESTART,
    "restarted": RESTARTED,
    "announce": ANNOUNCE,
}


class Runbooks:
    """A folder with programs and the files that they change. `history` has a line for each change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secret_file = folder / "password"
        self.secret_file.write_text(SECRET)
        (folder / "history").touch()
        for name, text in PROGRAMS.items():
            self.write(name, text)
        for target in ("web", "api"):
            self.set(target, size=1, ready=1, started=1)

    def write(self, name: str, text: str) -> Path:
        """A program."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def set(self, target: str, **fields: int) -> None:
        """Brings a target to a state, unseen by the history."""
        (self.folder / f"{target}.env").write_text("".join(f"{name}={value}\n" for name, value in fields.items()))

    def flag(self, name: str, *, up: bool) -> None:
        """Has the programs misbehave, or no longer."""
        path = self.folder / name
        path.touch() if up else path.unlink(missing_ok=True)

    @property
    def history(self) -> list[str]:
        """Every change."""
        return (self.folder / "history").read_text().splitlines()

    def entry(self) -> dict[str, Any]:
        """The driver's entry of a targets file."""
        here = str(self.folder)
        return {
            "driver": "command",
            "name": "command",
            "targets": ["web", "api"],
            "directory": here,
            "observe": ["/bin/cat", f"{here}/{{target}}.env"],
            "environment_files": {"PASSWORD": str(self.secret_file)},
            "run_dir": f"{here}/running",
            "commands": {
                "set_size": {
                    "crash": "convergent",
                    "parameters": {"size": "[1-9]"},
                    "run": [f"{here}/set-size", "{target}", "{size}", "{before_size}"],
                    "check": {"run": [f"{here}/check-size", "{target}", "{size}"]},
                    "undo": [f"{here}/put-back", "{target}", "{before_size}"],
                    "undo_check": {"run": [f"{here}/check-size", "{target}", "{before_size}"]},
                    "exit_codes": {str(CONFLICT_CODE): "conflict", "69": "transient"},
                },
                "restart": {
                    "crash": "witnessed",
                    "run": [f"{here}/restart", "{target}"],
                    "check": {"run": [f"{here}/restarted", "{target}", "{before_started}"]},
                },
                "announce": {
                    "crash": "blind",
                    "parameters": {"channel": "[a-z]+"},
                    "run": [f"{here}/announce", "{target}", "{key}"],
                },
            },
        }
