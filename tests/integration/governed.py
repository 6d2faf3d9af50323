"""A governed fleet on a real Kafka: its people and their keys, what they say, and the processes that are killed."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from killable import Killable
from policy_world import PEOPLE, documents, incident, plan, preview, signal
from scenario import Said
from waiting import eventually

from autopilot.infra.governance import Cluster
from autopilot.policies.bundle import PolicyBundle
from autopilot.schemas.configuration import Principal, Signers, document
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Recorded
from autopilot.schemas.events.people import ConfigurationActivated, Document
from autopilot.schemas.events.planner import PlanProposed
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.registry import BundledRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.publisher import Publisher
from autopilot.streams.reader import read

PARTITIONS = 4
HOME = 1
"""The partition of the domain `shop`."""
KEYS = {name: SigningKey.from_bytes(name, name.encode().ljust(32, b".")) for name in PEOPLE}
POLICY = KEYS["policy"]
REGISTRY = BundledRegistry()
P = TypeVar("P", bound=Payload)
_PATHS = (Path(__file__).parent, Path(__file__).parents[1] / "unit")


def cluster_of(kafka: Mapping[str, str]) -> Cluster:
    """The cluster as governance sees it."""
    return Cluster(kafka, REGISTRY, PARTITIONS)


def signers(keys: Mapping[str, SigningKey] = KEYS) -> Document:
    """The signer list with those keys."""
    principals = [
        Principal(name=name, public_key=key.public_key, roles=list(PEOPLE[name])) for name, key in keys.items()
    ]
    return document(Signers(name="people", signers=principals).model_dump(mode="json"))


def configuration(*bundles: PolicyBundle, **more: Any) -> list[Document]:
    """The fleet, pinned to one partition, and everything else."""
    written = [doc for doc in documents(*bundles, **more) if doc.kind != "Signers"]
    pinned = [doc for doc in written if doc.kind != "Fleet"]
    (fleet,) = [doc for doc in written if doc.kind == "Fleet"]
    content = fleet.content.replace('"name":"shop","partition":null', f'"name":"shop","partition":{HOME}')
    pinned.append(document(_json(content)))
    return sorted([*pinned, signers()], key=lambda doc: (doc.kind, doc.name))


def _json(content: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(content)
    return loaded


class Log:
    """The log as people, planner and effector write it, each with a key of their own or none."""

    def __init__(self, kafka: Mapping[str, str]) -> None:
        self.kafka = kafka
        self.now_us = time.time_ns() // 1_000_000 * 1_000
        self._publishers: dict[str, Publisher] = {}

    def close(self) -> None:
        """Gives up every connection."""
        for publisher in self._publishers.values():
            publisher.close()

    def configure(self, docs: list[Document], author: str = "ada") -> None:
        """Activates configuration."""
        activation = ConfigurationActivated(revision="r", documents=docs, author=author, comment="")
        self._publisher(author, KEYS[author]).broadcast(Draft(activation, ""), self.now_us)

    def tick(self, seconds: int = 1) -> None:
        """Lets time pass."""
        self.now_us += seconds * 1_000_000
        self._publisher("clock").broadcast(Draft(Tick(at_us=self.now_us), ""), self.now_us)

    def say(self, told: Payload | Said, *, key: SigningKey | None = None, domain: str = "shop") -> str:
        """Says something in the domain's partition, or broadcasts it; signed with `key`, or as `Said` says."""
        payload = told.payload if isinstance(told, Said) else told
        if isinstance(told, Said) and told.signed_by is not None and key is None:
            key = KEYS[told.signed_by]
        publisher = self._publisher(key.principal if key else "outside", key)
        if payload.broadcast:
            return publisher.broadcast(Draft(payload, ""), self.now_us)
        event_id = publisher.publish(Draft(payload, domain, "checkout", "inc"), HOME, self.now_us)
        publisher.flush()
        return event_id

    def troubled(self) -> None:
        """An incident of the checkout."""
        for payload in (signal(), incident()):
            self.say(payload)

    def propose(self, name: str, **more: Any) -> PlanProposed:
        """A plan for it."""
        proposed = plan(name, **more)
        self.say(proposed)
        return proposed

    def previewed(self, name: str) -> None:
        """The effector's preview of it."""
        self.say(preview(plan_id=name))

    def events(self, *kinds: type[P], run: str = "live", partition: int | None = HOME) -> list[Recorded[P]]:
        """The events of those kinds on a partition of the log."""
        bounds = {} if partition is None else {"partitions": [partition]}
        found = read(self.kafka, REGISTRY, Topic.LOG, types=kinds, **bounds)
        return [each for each in found if isinstance(each.payload, kinds) and each.envelope.run == run]

    def await_(self, kind: type[P], count: int = 1, **more: Any) -> list[Recorded[P]]:
        """The events of a kind once there are so many."""
        await_(lambda: len(self.events(kind, **more)) >= count, f"{count} {kind.__name__}")
        return self.events(kind, **more)

    def _publisher(self, name: str, key: SigningKey | None = None) -> Publisher:
        known = f"{name}/{key.public_key if key else ''}"
        if known not in self._publishers:
            self._publishers[known] = Publisher(
                kafka=self.kafka, registry=REGISTRY, producer=name, partitions=PARTITIONS, key=key
            )
        return self._publishers[known]


def await_(condition: Callable[[], bool], what: str) -> None:
    """Waits until a condition holds."""
    eventually(condition, what=lambda: f"not in time: {what}")


class Mortal(Killable):
    """A process of the governance that is killed and comes back."""

    def __init__(self, *arguments: str) -> None:
        program = Path(__file__).with_name("governed_process.py")
        super().__init__(program, *arguments, env={"PYTHONPATH": os.pathsep.join(map(str, _PATHS))})


@contextmanager
def mortal(name: str, kafka: Mapping[str, str], *more: str) -> Iterator[Mortal]:
    """The process of that name."""
    process = Mortal(name, kafka["bootstrap.servers"], *more)
    try:
        yield process
    finally:
        process.stop()
