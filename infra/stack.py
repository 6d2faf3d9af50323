"""The whole of `autopilot up`: broker, registry, topics, contracts and processes, under one supervisord."""

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from autopilot.infra.composition import AGENTS, PROCESSES, api_url, environment_of, registry_of, registry_url
from autopilot.infra.effector.driver_file import read_drivers
from autopilot.infra.notifier.channels import read_channels
from autopilot.infra.platform.kafka import EmbeddedKafka, broker_answers
from autopilot.infra.platform.maven import Announce
from autopilot.infra.platform.ports import HOST, PortBook, answers, listens, require_free
from autopilot.infra.platform.processes import ProcessError, tail, wait_until
from autopilot.infra.platform.registry import EmbeddedRegistry, registry_answers
from autopilot.infra.platform.supervision import RUNNING, Program, ProgramState, Supervision
from autopilot.infra.platform.topics import create_topics
from autopilot.infra.process_settings import CONTENT, SAID_AS, UNSAID, file_digest
from autopilot.infra.schema_registry import HttpSchemaRegistry, RegistryError
from autopilot.infra.security.principals import GRANTS
from autopilot.infra.security.provision import provision
from autopilot.infra.settings import PREFIX, Settings, admin_config, kafka_config
from autopilot.infra.signers import ensure_first_principals
from autopilot.schemas.contract import Payload
from autopilot.schemas.events import EVENT_TYPES

MEMBERS_S = 180.0
"""How long the agents are given to have their partitions."""
REGISTER_S = 60.0
"""How long a registry that has just started is given to take the contracts."""
KAFKA, REGISTRY, PROJECTOR = "kafka", "registry", "projector"
EXTERNAL, UNREACHABLE, STOPPED = "EXTERNAL", "UNREACHABLE", "STOPPED"


@dataclass(frozen=True)
class Part:
    """One line of `autopilot status`."""

    name: str
    state: str
    pid: int
    uptime_s: int
    detail: str

    @property
    def is_well(self) -> bool:
        """Whether it does its work."""
        return self.state in (RUNNING, EXTERNAL)


def _registered(client: HttpSchemaRegistry, model: type[Payload], *, last: bool) -> bool:
    """Whether the registry took the contract. One that has just started answers before it has read its journal, and
    refuses what it takes a moment later; at the `last` try its refusal is raised.
    """
    try:
        client.id_for(model)
    except RegistryError:
        if last:
            raise
        return False
    return True


class Stack:
    """The parts of one home. Starting is idempotent; data, keys and logs stay between runs."""

    def __init__(self, settings: Settings, announce: Announce) -> None:
        self._settings = settings
        self._announce = announce
        self._supervision = Supervision(settings.home)

    def up(self, processes: Iterable[str] = PROCESSES) -> list[Part]:
        """Brings up what is not up, in order, and returns once all of it works.

        Raises `PortInUseError`, `ProcessError`, `TopicsError` or `RegistryError`, each saying what to do.
        """
        wanted = list(processes)
        settings = self._settings
        ensure_first_principals(settings.keys)
        if settings.is_secure:
            self._make_secure()
        self._check_files(wanted)
        kafka, registry = self._embedded()
        self._check_ports(kafka, registry, wanted)
        idle = self._load(self._programs(kafka, registry, wanted))
        if kafka:
            self._start(KAFKA, kafka.is_ready, 120)
        if settings.is_secure:
            self._provision()
        self._create_topics()
        if registry:
            self._start(REGISTRY, registry.is_ready, 240)
        self._register_contracts()
        self._start_processes(wanted)
        self._await_members([name for name in wanted if name in (*AGENTS, "effector")])
        if "otlp" in wanted:
            self._await("otlp", lambda: answers(settings.otlp_port), 120)
        if PROJECTOR in wanted:
            self._await(PROJECTOR, lambda: answers(self._api_port()), 120)
        if idle:
            self._announce("nothing to do: all of it runs, with these settings")
        return self.status()

    def prepare(self, timeout_s: float) -> None:
        """Keys, topics and contracts on a Kafka and a registry that others run, which it waits for.

        Raises `ProcessError` when one of them does not answer by the time.
        """
        settings = self._settings
        ensure_first_principals(settings.keys)
        for name, ready in (
            (KAFKA, lambda: broker_answers(kafka_config(settings))),
            (REGISTRY, lambda: registry_answers(registry_url(settings))),
        ):
            wait_until(ready, timeout_s, name, self._supervision.log_of(name))
        self._create_topics()
        self._register_contracts()

    def down(self) -> bool:
        """Ends agents and bridges, then the registry, then Kafka. False when nothing was up."""
        if not self._supervision.is_running():
            return False
        running = [state.name for state in self._supervision.states() if state.pid]
        self._announce(f"stopping {', '.join(reversed(running))}")
        self._stop(running)
        self._supervision.shutdown()
        return True

    def status(self) -> list[Part]:
        """Every part, whether or not it is up."""
        up = self._supervision.is_running()
        states = {state.name: state for state in self._supervision.states()} if up else {}
        return [
            self._platform_part(KAFKA, states.get(KAFKA)),
            self._platform_part(REGISTRY, states.get(REGISTRY)),
            *(_part(name, states.get(name), self._detail(name)) for name in PROCESSES),
        ]

    # -- parts -------------------------------------------------------------------------------------------------------

    def _embedded(self) -> tuple[EmbeddedKafka | None, EmbeddedRegistry | None]:
        settings, ports = self._settings, PortBook(self._settings.home)
        ground = settings.ground if settings.is_secure else None
        kafka = registry = None
        if settings.embeds_kafka:
            kafka = EmbeddedKafka(
                settings.home.absolute() / KAFKA,
                port=ports.port(KAFKA, settings.kafka_port),
                controller_port=ports.port("kafka-controller", settings.kafka_controller_port),
                internal_port=ports.port("kafka-internal", settings.kafka_internal_port) if ground else 0,
                security=ground,
            )
        if settings.embeds_registry:
            registry = EmbeddedRegistry(
                settings.home.absolute() / REGISTRY,
                kafka_config(settings)["bootstrap.servers"],
                port=ports.port(REGISTRY, settings.registry_port),
                management_port=ports.port("registry-management", settings.registry_management_port),
                security=ground,
            )
        return kafka, registry

    def _check_files(self, wanted: list[str]) -> None:
        """Reads the files that processes read when they start, so that a fault in one is told before anything stops."""
        if "effector" in wanted and self._settings.targets:
            read_drivers(self._settings.targets)
        if "notifier" in wanted and self._settings.notifications:
            read_channels(self._settings.notifications)

    def _check_ports(self, kafka: EmbeddedKafka | None, registry: EmbeddedRegistry | None, wanted: list[str]) -> None:
        """Names a taken port before anything is started or stopped. What a part listens on itself is free for it."""
        pids = {part.name: part.pid for part in self._supervision.states()} if self._supervision.is_running() else {}
        ports: list[tuple[str, int, str]] = []
        if kafka:
            ports += [(KAFKA, kafka.port, "KAFKA_PORT"), (KAFKA, kafka.controller_port, "KAFKA_CONTROLLER_PORT")]
            if kafka.internal_port:
                ports.append((KAFKA, kafka.internal_port, "KAFKA_INTERNAL_PORT"))
        if registry:
            ports += [
                (REGISTRY, registry.port, "REGISTRY_PORT"),
                (REGISTRY, registry.management_port, "REGISTRY_MANAGEMENT_PORT"),
            ]
        if "otlp" in wanted:
            ports.append(("otlp", self._settings.otlp_port, "OTLP_PORT"))
        if PROJECTOR in wanted:
            ports.append((PROJECTOR, self._api_port(), "API_PORT"))
        for name, port, setting in ports:
            if not listens(pids.get(name, 0), port):
                require_free(port, PREFIX + setting)

    def _api_port(self) -> int:
        return PortBook(self._settings.home).port("api", self._settings.api_port)

    def _programs(
        self, kafka: EmbeddedKafka | None, registry: EmbeddedRegistry | None, wanted: list[str]
    ) -> list[Program]:
        programs = []
        if kafka:
            kafka.prepare(self._announce)
            environment = {"SERVER_PROPERTIES" + CONTENT: file_digest(kafka.properties)}
            programs.append(
                Program(KAFKA, kafka.command(), environment, stop_seconds=30, unsaid=frozenset(environment))
            )
        if registry:
            registry.prepare(self._announce)
            programs.append(Program(REGISTRY, registry.command(), registry.environment()))
        for name in wanted:
            command = [sys.executable, "-m", "autopilot.infra.cli.main", "run", name]
            environment = environment_of(name, self._settings)
            programs.append(Program(name, command, environment, start_seconds=2, unsaid=UNSAID, said_as=SAID_AS))
        return programs

    def _load(self, programs: list[Program]) -> bool:
        """Makes these the programs, and ends those that run otherwise. True when all of them run as they should."""
        if self._supervision.is_running() and broker_answers(admin_config(self._settings)):
            self._create_topics()  # what does not fit the topics is told before anything stops
        reload = self._supervision.load(programs)
        running = {state.name for state in self._supervision.states() if state.pid}
        for name, why in reload.changed.items():
            self._announce(f"restarting {name}: {why}" if name in running else f"{name} has changed: {why}")
        for name in running.intersection(reload.removed):
            self._announce(f"stopping {name}: it is not wanted any more")
        self._stop(reload.to_stop)  # those as well that have no pid now and are about to be started again
        self._supervision.replace(reload)
        return all(state.state == RUNNING for state in self._supervision.states())

    def _start_processes(self, wanted: list[str]) -> None:
        """Starts those that do not run."""
        starting = [state.name for state in self._supervision.states(wanted) if state.state != RUNNING]
        if starting:
            self._announce(f"starting {', '.join(starting)}")
        self._supervision.start(wanted)

    def _start(self, name: str, ready: Callable[[], bool], timeout_s: float) -> None:
        (state,) = self._supervision.states([name])
        if state.state != RUNNING:
            self._announce(f"starting {name}")
        self._supervision.start([name])
        self._await(name, ready, timeout_s)

    def _await(self, name: str, ready: Callable[[], bool], timeout_s: float) -> None:
        def alive() -> bool:
            return any(state.pid for state in self._supervision.states([name]))

        wait_until(ready, timeout_s, name, self._supervision.log_of(name), alive)

    def _make_secure(self) -> None:
        """Makes what is missing of certificates and passwords. Raises `ProcessError` for a Kafka that runs without."""
        ground = self._settings.ground
        if not ground.exists and self._supervision.is_running():
            raise ProcessError("this home runs without security; `autopilot down` first, then `autopilot up --secure`")
        ground.ensure(list(GRANTS), self._settings.secure_hosts.split())

    def _provision(self) -> None:
        added, removed = provision(self._settings.ground, admin_config(self._settings))
        if added or removed:
            self._announce(f"access control lists: {added} added, {removed} removed")

    def restart(self, names: Iterable[str]) -> list[str]:
        """Ends and starts those of `names` that run under this home's supervision, and gives which they were.

        Kafka is waited for before what comes after it. Raises `ProcessError`.
        """
        if not self._supervision.is_running():
            return []
        running = [state.name for state in self._supervision.states(names) if state.pid]
        self._stop(running)
        kafka, registry = self._embedded()
        if kafka and KAFKA in running:
            self._start(KAFKA, kafka.is_ready, 120)
        if registry and REGISTRY in running:
            registry.prepare(self._announce)
            self._start(REGISTRY, registry.is_ready, 240)
        self._supervision.start([name for name in running if name not in (KAFKA, REGISTRY)])
        return running

    def _stop(self, names: Iterable[str]) -> None:
        """Ends processes, then the registry, then Kafka, of those that are named."""
        going = set(names)
        for several in (going - {KAFKA, REGISTRY}, going & {REGISTRY}, going & {KAFKA}):
            self._supervision.stop(sorted(several))

    def _create_topics(self) -> None:
        config = admin_config(self._settings)
        if not broker_answers(config, timeout_s=10):
            raise ProcessError(f"kafka at `{config['bootstrap.servers']}` does not answer (`AUTOPILOT_KAFKA`)")
        made = create_topics(config, self._settings.partitions)
        if made:
            self._announce(f"created {len(made)} topics")

    def _register_contracts(self) -> None:
        client = registry_of(self._settings)
        until = time.monotonic() + REGISTER_S
        try:
            for model in EVENT_TYPES.values():
                while not _registered(client, model, last=time.monotonic() > until):
                    time.sleep(0.5)
        finally:
            client.close()

    def _await_members(self, groups: list[str]) -> None:
        """Returns once each has joined its consumer group and has its partitions. Raises `ProcessError`, which names
        those that have not.
        """
        client = AdminClient({**admin_config(self._settings), "log_level": 3})
        waiting = list(groups)

        def stable() -> bool:
            try:
                described = client.describe_consumer_groups(groups, request_timeout=5)
                found = {name: future.result() for name, future in described.items()}
            except KafkaException:
                return False
            ready = {name for name, one in found.items() if one.state == ConsumerGroupState.STABLE and one.members}
            waiting[:] = [name for name in groups if name not in ready]
            return not waiting

        if groups:
            try:
                wait_until(stable, MEMBERS_S, "agents", self._supervision.log_of(groups[0]))
            except ProcessError:
                log = self._supervision.log_of(waiting[0])
                raise ProcessError(
                    f"no partitions after {MEMBERS_S:.0f} s for {', '.join(waiting)}: a busy machine needs longer, so "
                    f"see `autopilot status` and try `autopilot up` again; the log {log} ends with:\n{tail(log)}"
                ) from None

    # -- status ------------------------------------------------------------------------------------------------------

    def _platform_part(self, name: str, state: ProgramState | None) -> Part:
        settings = self._settings
        if name == KAFKA and not settings.embeds_kafka:
            return _external(name, settings.kafka, broker_answers(kafka_config(settings)))
        if name == REGISTRY and not settings.embeds_registry:
            return _external(name, settings.registry, registry_answers(settings.registry))
        return _part(name, state, self._detail(name))

    def _detail(self, name: str) -> str:
        ports = PortBook(self._settings.home)
        if name == KAFKA and ports.known(KAFKA, self._settings.kafka_port):
            return kafka_config(self._settings)["bootstrap.servers"]
        if name == REGISTRY and ports.known(REGISTRY, self._settings.registry_port):
            return registry_url(self._settings)
        if name == PROJECTOR and ports.known("api", self._settings.api_port):
            return api_url(self._settings)
        return f"http://{HOST}:{self._settings.otlp_port}" if name == "otlp" else ""


def _external(name: str, address: str, well: bool) -> Part:
    return Part(name, EXTERNAL if well else UNREACHABLE, 0, 0, address)


def _part(name: str, state: ProgramState | None, detail: str) -> Part:
    if state is None:
        return Part(name, STOPPED, 0, 0, "")
    return Part(name, state.state, state.pid, state.uptime_s, detail if state.state == RUNNING else state.detail)
