"""The command line: every command explains itself, and a refusal is one line with an exit code."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from autopilot.infra.cli import output
from autopilot.infra.cli.main import application, main
from autopilot.infra.dead_letters import REDRIVEN, DeadLetter, chosen, redrive, redriven, refusals
from autopilot.infra.errors import MendableError
from autopilot.infra.settings import NotUpError
from autopilot.schemas.events.runtime import DeadLettered
from autopilot.streams.record import Outgoing

APP = application()
RUNNER = CliRunner()


def commands(group: TyperGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command.help or ""


ROOT = typer.main.get_command(APP)
assert isinstance(ROOT, TyperGroup)
ALL = dict(commands(ROOT))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own, without a home in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTOPILOT_HOME", raising=False)
    return tmp_path


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    result = RUNNER.invoke(APP, [*path, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"autopilot {' '.join(path)}" in " ".join(ALL[path].split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["incidents"],
        ["timeline", "inc-1"],
        ["approvals"],
        ["approve", "apr-1", "--as", "ada"],
        ["dead-letters", "list"],
        ["halt", "--as", "ada", "--reason", "x"],
    ],
    ids=" ".join,
)
def test_a_home_that_is_not_up_is_said_in_one_line(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["autopilot", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == output.REFUSED
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert issubclass(NotUpError, MendableError)


def test_a_setting_out_of_bounds_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("AUTOPILOT_PARTITIONS", "none")
    monkeypatch.setattr("sys.argv", ["autopilot", "config"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == output.REFUSED
    assert "setting `partitions` is 'none', expected a valid integer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("snapshot_evry = 300", "there is no setting `snapshot_evry` (it is 300); did you mean `snapshot_every`?"),
        ("colour = 'red'", "there is no setting `colour` (it is 'red'); `autopilot config` shows those that there are"),
    ],
)
def test_a_setting_that_there_is_not_is_told_with_the_one_that_was_meant(
    line: str, error: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "autopilot.toml").write_text(f"{line}\n")
    monkeypatch.setattr("sys.argv", ["autopilot", "status"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().err) == (output.REFUSED, f"error: {error}\n")


def test_a_file_that_is_in_the_way_is_named_in_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / ".autopilot").write_text("a file where the home should be")
    monkeypatch.setattr("sys.argv", ["autopilot", "keys", "new", "ada"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().err) == (
        output.REFUSED,
        "error: `.autopilot/keys`: Not a directory\n",
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ["audit", "verify", "--from", "2026-12-02", "--to", "2026-12-01"],
            "`--to` is `2026-12-01`, expected a time after `--from`, which is `2026-12-02`\n",
        ),
        (
            ["audit", "report", "--from", "2026-12-02", "--to", "2026-12-02"],
            "`--to` is `2026-12-02`, expected a time after `--from`, which is `2026-12-02`\n",
        ),
        (["audit", "verify", "--from", "2026-13-01"], "time is `2026-13-01`, expected one such as 2026-03-01 or "),
        (["audit", "report", "-o", "march.pdf"], "`march.pdf` ends in `.pdf`, expected `.md`, `.html` or `.json`\n"),
        (["audit", "report", "-o", "gone/march.md"], "there is no folder `gone` to write `march.md` into\n"),
    ],
    ids=" ".join,
)
def test_an_audit_of_nothing_is_refused_before_anything_is_read(arguments: list[str], error: str) -> None:
    result = RUNNER.invoke(APP, arguments)
    assert (result.exit_code, result.output[: len(error)]) == (output.REFUSED, error)


def test_status_of_an_empty_home_is_no() -> None:
    result = RUNNER.invoke(APP, ["status", "--json"])
    assert result.exit_code == output.NO
    assert '"state": "STOPPED"' in result.output


def test_down_of_an_empty_home_is_harmless() -> None:
    result = RUNNER.invoke(APP, ["down"])
    assert (result.exit_code, result.output) == (0, "nothing was up\n")


def test_an_unknown_process_is_refused() -> None:
    result = RUNNER.invoke(APP, ["run", "plannr"])
    assert result.exit_code == output.REFUSED
    assert "expected one of observer, planner" in result.output


def test_keys_are_made_listed_and_printed_as_signers() -> None:
    assert RUNNER.invoke(APP, ["keys", "new", "ada", "--role", "author"]).exit_code == 0
    assert "author" in RUNNER.invoke(APP, ["keys", "list"]).output
    printed = RUNNER.invoke(APP, ["keys", "signers"]).output
    assert printed.startswith("kind: Signers\n")
    assert "name: ada" in printed


def test_a_key_that_is_there_gets_other_roles_and_that_is_said() -> None:
    made = RUNNER.invoke(APP, ["keys", "new", "ada", "--role", "approver", "--role", "operator"])
    assert (made.output.endswith("roles approver, operator\n"), made.stderr) == (True, "")
    again = RUNNER.invoke(APP, ["keys", "new", "ada", "--role", "opreator"])
    assert again.stdout.endswith("roles opreator instead of approver, operator\n")
    told = " ".join(again.stderr.split())
    assert (
        told
        == ".. `opreator` is a group that policy bundles may name as approvers, and no role; did you mean `operator`"
    )


def test_a_level_of_autonomy_that_there_is_not_is_refused_before_it_is_said_to_the_log() -> None:
    result = RUNNER.invoke(APP, ["autonomy", "set", "restart", "cart", "sometimes", "--as", "ada", "--reason", "x"])
    assert result.exit_code == output.REFUSED
    assert "'sometimes'" in result.output
    assert "'act_and_tell', 'act'" in result.output


def test_logs_end_with_what_was_written_last(home: Path) -> None:
    logs = home / ".autopilot" / "logs"
    logs.mkdir(parents=True)
    (logs / "planner.log").write_text("one\ntwo\nthree\n")
    assert RUNNER.invoke(APP, ["logs", "planner", "-n", "2"]).output == "two\nthree\n"
    assert RUNNER.invoke(APP, ["logs", "-n", "1"]).output == "planner   three\n"
    assert RUNNER.invoke(APP, ["logs", "plannr"]).exit_code == output.REFUSED


@pytest.mark.parametrize(
    ("took_ms", "shown"), [(7, "7 ms"), (1_500, "1.5 s"), (119_949, "119.9 s"), (150_000, "2 min 30 s")]
)
def test_durations_read_well(took_ms: int, shown: str) -> None:
    assert output.duration(took_ms) == shown


@pytest.mark.parametrize(
    ("up_s", "shown"),
    [(0, "0 s"), (119, "119 s"), (2_951, "49 min"), (7_200, "2 h 0 min"), (90_061, "25 h 1 min"), (176_400, "2 d 1 h")],
)
def test_uptimes_read_well(up_s: int, shown: str) -> None:
    assert output.uptime(up_s) == shown


# -- dead letters ------------------------------------------------------------------------------------------------------

LETTER = DeadLetter(
    "3f0a9c2b-71d4",
    1,
    DeadLettered(
        reader="planner",
        source_topic="autopilot.log",
        source_partition=2,
        source_offset=17,
        error_class="invalid",
        field="severity",
        value="'loud'",
        expected="one of `page`, `ticket`, `info`",
        key=b"shop",
        raw=b"\0\0\0\0\1bytes",
        headers={"event-type": b"SignalRaised", "signature": b"k:s"},
    ),
)


def test_a_redriven_record_is_the_one_that_it_was() -> None:
    out = redriven(LETTER)
    assert (out.topic, out.partition, out.key, out.value) == ("autopilot.log", 2, b"shop", b"\0\0\0\0\1bytes")
    assert out.headers == {**LETTER.content.headers, REDRIVEN: b"3f0a9c2b-71d4"}


def letter_of(
    reader: str, partition: int, key: bytes = b"*", at_ms: int = 1, error_class: str = "invalid"
) -> DeadLetter:
    changes = {"reader": reader, "source_partition": partition, "key": key, "error_class": error_class}
    return DeadLetter(f"{reader}-{partition}-{error_class}", at_ms, LETTER.content.model_copy(update=changes))


def test_a_refused_broadcast_shows_once_with_who_refused_it_and_where() -> None:
    letters = [letter_of(reader, number, at_ms=9 - number) for reader in ("policy", "planner") for number in range(4)]
    (refusal,) = refusals(letters)
    assert refusal.first.letter_id == "policy-3-invalid"
    assert refusal.readers == ["planner", "policy"]
    assert refusal.sources == [f"autopilot.log[{number}]@17" for number in range(4)]


@pytest.mark.parametrize(
    ("limit", "told"), [("2", "these are the newest 2 of 3; --limit shows more"), ("3", ""), ("4", "")]
)
def test_a_list_that_was_cut_says_so(limit: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = [letter_of("observer", number, key=b"shop") for number in range(3)]
    monkeypatch.setattr("autopilot.infra.cli.dead_letters._all", lambda: letters)
    result = RUNNER.invoke(APP, ["dead-letters", "list", "--limit", limit])
    assert result.output.count("autopilot.log[") == min(int(limit), 3)
    assert result.stderr.strip() == told


def test_what_was_no_broadcast_or_is_wrong_otherwise_shows_by_itself() -> None:
    same = [letter_of("policy", number, b"shop") for number in range(2)]
    other = letter_of("policy", 0, b"shop", error_class="repeated")
    assert [refusal.letters for refusal in refusals([*same, other])] == [(one,) for one in (*same, other)]
    assert len(refusals([same[0], letter_of("planner", 0, b"shop")])) == 1


class Sent:
    """Keeps what a publisher would send."""

    def __init__(self) -> None:
        self.partitions: list[int] = []

    def send(self, outgoing: Outgoing) -> None:
        self.partitions.append(outgoing.partition)

    def flush(self) -> None:
        """Nothing is held back."""


def test_a_record_is_driven_again_once_however_many_readers_refused_it() -> None:
    sent = Sent()
    assert redrive(sent, [letter_of(reader, number) for reader in ("policy", "planner") for number in range(4)]) == 4
    assert sent.partitions == [0, 1, 2, 3]


def test_a_dead_letter_says_what_is_wrong_and_where() -> None:
    assert LETTER.error == "`severity` is 'loud', expected one of `page`, `ticket`, `info`"
    assert LETTER.source == "autopilot.log[2]@17"
    assert chosen([LETTER], "3f0a") == [LETTER]
    assert chosen([LETTER], "4") == []
