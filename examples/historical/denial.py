"""A denial on the recorded day, for the guide of policy authors: simulated, then explained, by the commands themselves.

    python -m examples.historical.denial [--check]

The day runs under the shipped default bundle and a calendar that is frozen in its second half (`freeze.yaml`). The
first plan that was denied is explained, and the page is written anew; `--check` only says whether it would change.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "policy-authors.md"
DAY = "examples/historical/online-boutique"
COMMANDS = (
    f"cp -r {DAY}/config build/frozen",
    "rm build/frozen/policybundle.yaml",
    "cp policies/bundles/default.yaml examples/historical/freeze.yaml build/frozen",
    f"autopilot simulate --telemetry {DAY}/telemetry.parquet --config build/frozen --out build/frozen-day",
)
EXPLAIN = "autopilot policy explain {incident} --bundle policies/bundles/default.yaml --log build/frozen-day/log"
_BLOCK = re.compile(r"(?<=```console\n)\$ cp -r examples/historical.*?(?=```)", re.DOTALL)


def transcript() -> str:
    """The commands and what the last of them printed, as run in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "build").mkdir()
        for name in ("examples", "policies"):
            Path(folder, name).symlink_to(ROOT / name)
        for command in COMMANDS:
            _run(command, folder)
        _run("autopilot policy export -o decisions.jsonl --log build/frozen-day/log", folder)
        decisions = map(json.loads, Path(folder, "decisions.jsonl").read_text(encoding="utf-8").splitlines())
        denied = next(one["incident_id"] for one in decisions if one["ruling"] == "deny")
        explain = EXPLAIN.format(incident=denied)
        return "".join(f"$ {command}\n" for command in (*COMMANDS, explain)) + _run(explain, folder)


def page(text: str, shown: str) -> str:
    """The page with the transcript in its place."""
    if len(_BLOCK.findall(text)) != 1:
        raise ValueError(f"{PAGE} has no block that begins with `$ {COMMANDS[0]}`")
    return _BLOCK.sub(lambda _: shown, text)


def _run(command: str, folder: str) -> str:
    program, *arguments = shlex.split(command)
    whole = [sys.executable, "-m", "autopilot.infra.cli.main"] if program == "autopilot" else [program]
    done = subprocess.run([*whole, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"`{command}` ended with {done.returncode}: {done.stderr}")
    return "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"


def main() -> None:
    """Writes the page, or says whether it would change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 when the page is out of date")
    before = PAGE.read_text(encoding="utf-8")
    after = page(before, transcript())
    if parser.parse_args().check:
        sys.exit(after != before)
    PAGE.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
