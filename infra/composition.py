"""The composition root: the one place where settings become processes. Nothing else builds a client.

`PROCESSES` names them in the order in which they are started; each has one builder here that puts it together. What a
process needs alone is imported by its builder, so that a command such as `autopilot status` loads no agent.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from autopilot.agents.agent import Agent
from autopilot.infra.keys import ensure_key
from autopilot.infra.pins import pinned_administrators
from autopilot.infra.platform.ports import HOST, PortBook
from autopilot.infra.platform.registry import CONFLUENT_API
from autopilot.infra.process_settings import environment_for
from autopilot.infra.schema_registry import HttpSchemaRegistry
from autopilot.infra.settings import NotUpError, Settings, kafka_config
from autopilot.infra.signers import EFFECTOR, EXECUTOR, PLANNER, POLICY, SEALER, VERIFIER
from autopilot.infra.structured_logs import log_json
from autopilot.schemas.signing import SigningKey
from autopilot.streams.publisher import Publisher
from autopilot.streams.trust import SIGNS


class Runnable(Protocol):
    """A process's work: returns once `stop` is set and what was under way is done."""

    def run(self, stop: threading.Event) -> None:
        """Works until `stop`."""
        ...


def registry_url(settings: Settings) -> str:
    """The registry's API address. Raises `NotUpError` when no embedded one was started."""
    if settings.registry:
        return settings.registry
    port = PortBook(settings.home).known("registry", settings.registry_port)
    if not port:
        raise NotUpError("registry", "AUTOPILOT_REGISTRY", settings.home)
    return f"http://{HOST}:{port}{CONFLUENT_API}"


def registry_of(settings: Settings) -> HttpSchemaRegistry:
    """A client of the settings' registry."""
    return HttpSchemaRegistry(registry_url(settings))


def publisher_of(settings: Settings, producer: str, key: SigningKey | None = None) -> Publisher:
    """A publisher under the name `producer`; it signs with `key` when there is one."""
    return Publisher(
        kafka=kafka_config(settings),
        registry=registry_of(settings),
        producer=producer,
        partitions=settings.partitions,
        key=key,
        run=settings.run,
    )


# -- agents ------------------------------------------------------------------------------------------------------------


def _observer(settings: Settings) -> Runnable:
    from autopilot.agents.observer import Observer

    return _worker(settings, Observer(settings.partitions))


def _planner(settings: Settings) -> Runnable:
    from autopilot.agents.planner import Planner

    return _worker(settings, Planner(), ensure_key(settings.keys, PLANNER))


def _policy(settings: Settings) -> Runnable:
    from autopilot.agents.policy import PolicyAgent

    return _worker(settings, PolicyAgent(), ensure_key(settings.keys, POLICY))


def _executor(settings: Settings) -> Runnable:
    from autopilot.agents.executor import Executor

    return _worker(settings, Executor(), ensure_key(settings.keys, EXECUTOR))


def _verifier(settings: Settings) -> Runnable:
    from autopilot.agents.verifier import Verifier

    return _worker(settings, Verifier(), ensure_key(settings.keys, VERIFIER))


def _worker(settings: Settings, agent: Agent[Any], key: SigningKey | None = None) -> Runnable:
    from autopilot.streams.worker import AgentWorker, WorkerOptions

    options = WorkerOptions(
        kafka=kafka_config(settings),
        registry=registry_of(settings),
        partitions=settings.partitions,
        instance=f"{agent.name}-{settings.instance}",
        run=settings.run,
        key=key,
        signs=SIGNS.get(agent.name, frozenset()),
        snapshot_every=settings.snapshot_every,
    )
    return AgentWorker(agent, options)


# -- the others --------------------------------------------------------------------------------------------------------


def _effector(settings: Settings) -> Runnable:
    from autopilot.infra.effector.driver_file import read_drivers
    from autopilot.infra.effector.drivers.supervisord import SupervisordDriver, SupervisordSettings
    from autopilot.infra.effector.worker import EffectorWorker

    drivers = read_drivers(settings.targets) if settings.targets else {}
    if settings.supervisord_url:
        target = SupervisordSettings(
            url=settings.supervisord_url,
            username=settings.supervisord_username,
            password=settings.supervisord_password.get_secret_value(),
            releases_dir=settings.supervisord_releases,
        )
        drivers[target.name] = SupervisordDriver(target)
    return EffectorWorker(
        kafka=kafka_config(settings),
        registry=registry_of(settings),
        partitions=settings.partitions,
        drivers=drivers,
        run=settings.run,
        key=ensure_key(settings.keys, EFFECTOR),
        pinned_administrators=pinned_administrators(settings),
        snapshot_every=settings.snapshot_every,
    )


def _notifier(settings: Settings) -> Runnable:
    from autopilot.infra.notifier.channels import read_channels
    from autopilot.infra.notifier.process import Notifier
    from autopilot.streams.worker import WorkerOptions

    options = WorkerOptions(
        kafka=kafka_config(settings),
        registry=registry_of(settings),
        partitions=settings.partitions,
        instance=f"notifier-{settings.instance}",
        run=settings.run,
        snapshot_every=settings.snapshot_every,
    )
    return Notifier(options, read_channels(settings.notifications) if settings.notifications else [])


def _clock(settings: Settings) -> Runnable:
    from autopilot.streams.clock import Clock

    return Clock(
        kafka=kafka_config(settings),
        registry=registry_of(settings),
        partitions=settings.partitions,
        run=settings.run,
    )


def _otlp(settings: Settings) -> Runnable:
    from autopilot.infra.bridges.otlp import OtlpReceiver

    return OtlpReceiver(publisher=publisher_of(settings, "otlp"), host=settings.otlp_host, port=settings.otlp_port)


def _sealer(settings: Settings) -> Runnable:
    from autopilot.streams.sealer import Sealer, SealerOptions

    options = SealerOptions(
        kafka=kafka_config(settings),
        registry=registry_of(settings),
        key=ensure_key(settings.keys, SEALER),
        file=settings.seals,
        every_records=settings.seal_every,
        every_s=settings.seal_after_s,
        run=settings.run,
    )
    return Sealer(options)


def _projector(settings: Settings) -> Runnable:
    from autopilot.infra.api.server import ProjectorProcess

    return ProjectorProcess(
        kafka=kafka_config(settings),
        registry=registry_of(settings),
        partitions=settings.partitions,
        folder=settings.views,
        host=settings.api_host,
        port=PortBook(settings.home).port("api", settings.api_port),
        run=settings.run,
    )


def _kpis(settings: Settings) -> Runnable:
    from autopilot.streams.kpis.topology import KpiOptions, KpiTopology

    options = KpiOptions(
        kafka=kafka_config(settings),
        registry=registry_of(settings),
        partitions=settings.partitions,
        folder=settings.kpis,
        instance=settings.instance,
        run=settings.run,
    )
    return KpiTopology(options)


def api_url(settings: Settings) -> str:
    """The query API's address. Raises `NotUpError` when no projector was started."""
    port = PortBook(settings.home).known("api", settings.api_port)
    if not port:
        raise NotUpError("query API", "AUTOPILOT_API_PORT", settings.home)
    return f"http://{settings.api_host}:{port}"


def _shadow(settings: Settings) -> Runnable:
    from autopilot.streams.shadow import ShadowHost
    from autopilot.streams.worker import WorkerOptions

    options = WorkerOptions(
        kafka=kafka_config(settings),
        registry=registry_of(settings),
        partitions=settings.partitions,
        instance=settings.instance,
        snapshot_every=settings.snapshot_every,
    )
    return ShadowHost(options)


def _approval_gateway(settings: Settings) -> Runnable:
    from autopilot.infra.approval_gateway import ApprovalGateway

    return ApprovalGateway(
        kafka=kafka_config(settings),
        registry=registry_of(settings),
        partitions=settings.partitions,
        host=settings.gateway_host,
        port=settings.gateway_port,
    )


BUILDERS: Mapping[str, Callable[[Settings], Runnable]] = {
    "observer": _observer,
    "planner": _planner,
    "policy": _policy,
    "executor": _executor,
    "verifier": _verifier,
    "effector": _effector,
    "sealer": _sealer,
    "clock": _clock,
    "otlp": _otlp,
    "projector": _projector,
    "kpis": _kpis,
    "notifier": _notifier,
}
PROCESSES = tuple(BUILDERS)
AGENTS = PROCESSES[:5]
OPTIONAL: Mapping[str, Callable[[Settings], Runnable]] = {"shadow": _shadow, "gateway": _approval_gateway}
"""Processes that `up` does not start: they are run by `autopilot run` where they are wanted."""
OPTIONAL_AS: Mapping[str, str] = {"shadow": "policy", "gateway": "people"}
"""Whose credentials they connect with at a secure Kafka."""


def environment_of(name: str, settings: Settings) -> dict[str, str]:
    """The environment in which the process `name` finds what it uses of these settings.

    The effector is told whom it acts under even when no setting says so: the administrator of this home.
    """
    pinned = " ".join(sorted(pinned_administrators(settings)))
    return environment_for(name, as_principal(name, settings.model_copy(update={"pinned_administrators": pinned})))


def as_principal(name: str, settings: Settings) -> Settings:
    """These settings for the process `name`: at a secure embedded Kafka it connects with its own credentials."""
    if not settings.is_secure or settings.kafka_credentials is not None:
        return settings
    return settings.model_copy(update={"secure": True, "kafka_credentials": settings.ground.credentials(name)})


def run_process(name: str, settings: Settings, stop: threading.Event) -> None:
    """Puts the process `name` together and runs it until `stop`."""
    from autopilot.infra.telemetry_export import export_telemetry

    settings = as_principal(OPTIONAL_AS.get(name, name), settings)
    log_json(name, settings.log_level)
    number = [*PROCESSES, *OPTIONAL].index(name)
    page = settings.prometheus_port + number if settings.prometheus_port else 0
    export_telemetry(name, settings.instance, endpoint=settings.telemetry_endpoint, prometheus_port=page)
    {**BUILDERS, **OPTIONAL}[name](settings).run(stop)
