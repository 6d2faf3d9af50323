"""What a demonstration stands on: the platform through its command line, the fleet, the load. All of it is ended.

Another demonstration derives its own stage from this one, with its own documents, fleet, targets and entrance.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.markup import escape

from autopilot.infra.composition import registry_of
from autopilot.infra.platform.ports import free_port
from autopilot.infra.settings import PREFIX, Settings, kafka_config
from autopilot.projections.wording import why
from autopilot.schemas.events.effector import TargetObserved
from examples.shop.fleet import SOURCE, ShopFleet
from examples.shop.layout import Group, Layout
from examples.shop.processes import end, start
from examples.shop.watch import LogWatch, NotSeenError, Told

NORMAL_RATE = 12
LOAD_FOR_S = 3_600
NOTABLE = frozenset(
    {
        "SignalRaised", "SignalCleared", "IncidentOpened", "IncidentClosed", "PlanProposed", "PlanWithdrawn",
        "NoPlanFound", "ApprovalRequested", "ApprovalGranted", "PlanAuthorized", "PlanDenied", "StepStarted",
        "StepSucceeded", "StepFailed", "StepIndeterminate", "ExecutionFailed", "RollbackStarted", "ExecutionRolledBack",
        "OutcomeVerified", "OutcomeRejected", "OutcomeInconclusive", "AgentFaulted",
    }
)  # fmt: skip
"""Events that are told while they happen."""
HEALTHY_WITHIN_S = 180
WARM_UP_S = 6
"""Traffic before the first incident: the window that the first verification compares with."""


class Autopilot:
    """The `autopilot` command in a home of its own, as a person would use it."""

    def __init__(self, home: Path, targets: Mapping[str, str], otlp_port: int, console: Console) -> None:
        self.home = home
        self._console = console
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(PREFIX)},
            PREFIX + "HOME": str(home),
            PREFIX + "OTLP_PORT": str(otlp_port),
            **{PREFIX + name: value for name, value in targets.items()},
            "COLUMNS": str(console.width),
        }

    def run(self, *arguments: str, show: bool = True) -> None:
        """Runs one command. Raises `NotSeenError` when it fails."""
        if show:
            self._console.print(f"[bold cyan]$ autopilot {' '.join(arguments)}[/]", highlight=False)
        command = [sys.executable, "-m", "autopilot.infra.cli.main", *arguments]
        output = None if show else subprocess.PIPE
        done = subprocess.run(
            command, env=self._environment, stdout=output, stderr=subprocess.STDOUT if output else None, check=False
        )
        if done.returncode:
            said = f": {done.stdout.decode(errors='replace').strip()[-2_000:]}" if done.stdout else ""
            raise NotSeenError(f"`autopilot {' '.join(arguments)}` ended with {done.returncode}{said}")

    def settings(self) -> Settings:
        """The settings that the commands run with."""
        return Settings(home=self.home)


class Stage:
    """Everything up; use it as a context, which ends it again whatever happens."""

    documents = SOURCE
    """Folder of the documents that are put in force."""
    rate = NORMAL_RATE
    """Requests a second."""
    ground = "supervisord"
    """What the fleet runs under, for people."""
    load_module = "examples.shop.load"
    """The load generator."""

    def __init__(self, home: Path, console: Console) -> None:
        self.home = home.resolve()
        self.console = console
        port = free_port()
        self.fleet = self.make_fleet(f"http://127.0.0.1:{port}/v1/metrics")
        self.autopilot = Autopilot(self.home / "platform", self.targets(), port, console)
        self._ending = ExitStack()
        self._log: LogWatch | None = None

    # -- what another demonstration has otherwise --------------------------------------------------------------------

    def make_fleet(self, otlp_endpoint: str) -> ShopFleet:
        """The fleet, which sends its telemetry to that address."""
        return ShopFleet(self.home / "shop", otlp_endpoint)

    def targets(self) -> dict[str, str]:
        """The settings by which the effector finds its targets, without their prefix."""
        return {
            "SUPERVISORD_URL": f"unix://{self.fleet.socket_file}",
            "SUPERVISORD_RELEASES": str(self.fleet.layout.releases),
        }

    def open_entrance(self, _ending: ExitStack) -> None:
        """Starts what stands before the fleet, once its processes are started; `_ending` ends it."""

    def started_instances(self) -> set[tuple[str, str]]:
        """Service and instance of everything whose telemetry must come in before the fleet counts as healthy."""
        groups = [group for group in self.fleet.groups if group.started]
        return {(group.service, name) for group in groups for name in group.instances[: group.started]}

    def load_options(self) -> list[str]:
        """Further options of the load generator."""
        return []

    def start_loads(self) -> None:
        """Starts what sends requests."""
        self.start_load(self.fleet.layout, self.rate, self.load_options())

    def about(self, _told: Told) -> str:
        """What a told event's line begins with, as markup."""
        return ""

    def announce(self, title: str) -> None:
        """Says that an incident is provoked now."""
        self.console.rule(f"[bold]{title}")

    # ----------------------------------------------------------------------------------------------------------------

    @property
    def log(self) -> LogWatch:
        """The watch on the log, once everything is up."""
        if self._log is None:
            raise NotSeenError("the log is watched once everything is up")
        return self._log

    def __enter__(self) -> Self:
        """Brings everything up."""
        try:
            self._bring_up()
        except BaseException:
            self._ending.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Ends everything, in the opposite order; a further interrupt does not leave half of it running."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        with self._ending:
            if kind is not None and issubclass(kind, NotSeenError):
                self.autopilot.run("incidents")

    def start_load(self, run: Layout, rate: float, options: Sequence[str]) -> None:
        """Starts a load generator with a run folder of its own; it is ended with the stage."""
        run.logs.mkdir(parents=True, exist_ok=True)
        run.rate_file.write_text(f"{rate}\n")
        command = [sys.executable, "-m", self.load_module, "--run", str(run.root), "--for-s", str(LOAD_FOR_S), *options]
        self._ending.callback(end, start(command, run.logs / "load.log"))

    def say(self, text: str) -> None:
        """Prints one line of progress with the time."""
        self.console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {text}", highlight=False)

    def _bring_up(self) -> None:
        if self.autopilot.home.exists():
            self.autopilot.run("down", show=False)
        shutil.rmtree(self.home, ignore_errors=True)
        self.fleet.prepare()
        self._end_with("the shop", self.fleet.stop)
        self._end_with("the platform", lambda: self.autopilot.run("down", show=False))
        self.autopilot.run("up")
        processes = ", ".join(f"{group.name} x{group.started}" for group in self.fleet.groups)
        self.say(f"starting the shop under {self.ground}: {processes}")
        self.fleet.launch()
        self.open_entrance(self._ending)
        self.autopilot.run("apply", str(self.documents))
        self.fleet.await_selling()
        settings = self.autopilot.settings()
        self._log = LogWatch(kafka_config(settings), registry_of(settings), self._tell)
        self._ending.callback(self._log.close)
        self.start_loads()
        self._await_health()

    def _await_health(self) -> None:
        self.say(f"load: {self.rate} requests/s; waiting for telemetry of every instance and the state of every target")
        self.log.wait_for_instances(self.started_instances(), HEALTHY_WITHIN_S)
        for group in (group for group in self.fleet.groups if group.started):
            self.log.wait(f"the effector's view of {group.name}", partial(_runs, group), 0, HEALTHY_WITHIN_S)
        time.sleep(WARM_UP_S)

    def _tell(self, told: Told) -> None:
        if told.event.type in NOTABLE:
            meaning = escape(why(told.payload).splitlines()[0])
            self.say(f"{self.about(told)}[cyan]{told.envelope.producer:9}[/] {told.event.type} [dim]{meaning}[/]")

    def _end_with(self, what: str, stop: Callable[[], None]) -> None:
        def ended() -> None:
            self.say(f"stopping {what}")
            stop()

        self._ending.callback(ended)


def _runs(group: Group, told: Told) -> bool:
    observed = told.payload
    return (
        isinstance(observed, TargetObserved)
        and observed.target == group.name
        and int(observed.state["running"]) >= group.started
    )
