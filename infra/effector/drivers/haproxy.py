"""Servers behind HAProxy, over its runtime API. A target is a backend's name. Every verb is convergent.

`split`          the servers in `servers` (comma separated) get `percent` of the requests, the others the rest by size
`set_weight`     `server` has `weight`, 0 to 256
`drain`          `server` gets no new requests; done when its last one has ended
`ready`          `server` gets requests again; done when its health check says that it is up
`add_server`     `server` at `address` (HOST:PORT) with `weight` (0 when left out), in service
`remove_server`  `server` is drained and taken out

How `split` rounds is in `haproxy_shares`. State keys, each with one entry per server, by name: `servers`,
`addresses`, `weights`, `sizes` (configured weights), `states` (`ready`, `draining` while requests are under way,
`drain`, `maint`); besides `percent.SERVER` (the share of requests that it gets) and `serving` (servers that get any).
A share is counted among servers that are ready; `serving` leaves out those whose health check fails.
"""

import ipaddress
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from functools import partial
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from autopilot.infra.effector.drivers.haproxy_client import DRAIN, MAINT, READY, HaproxyClient, Row, checked
from autopilot.infra.effector.drivers.haproxy_servers import (
    GONE,
    Server,
    Servers,
    Wish,
    as_it_was,
    check_unmoved,
    differences,
    granted,
    in_order,
    parsed,
    recorded,
    server_of,
    shares_of,
)
from autopilot.infra.effector.drivers.haproxy_shares import MAX_WEIGHT, weights_for, written
from autopilot.infra.effector.port import (
    Applied,
    CrashClass,
    Difference,
    MissingError,
    Observation,
    PartialError,
    PermanentError,
    TargetError,
    TargetTimeoutError,
    TransientError,
    nothing_to_put_back,
)
from autopilot.schemas.events.planner import Action

POLL_S = 0.05
Wishes = dict[str, Wish]


class HaproxySettings(BaseModel):
    """How to reach an HAProxy and what may be done there.

    `url` is `unix:///path/to/socket` or `tcp://host:port`, a stats socket of level admin. Only the backends in
    `backends` are touched. At least `min_serving` servers stay that get requests. A `split` raises the share of the
    servers that it names by at most `max_step_percent` points. Servers are added at addresses within `networks` and
    ports within `ports` alone. `check` has the options of an added server's health check; empty for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "haproxy"
    url: str = Field(pattern=r"^(unix:///.+|tcp://.+:[0-9]+)$")
    backends: tuple[str, ...] = Field(min_length=1)
    min_serving: int = Field(default=1, ge=1)
    max_step_percent: int = Field(default=100, ge=1, le=100)
    networks: tuple[str, ...] = ()
    ports: tuple[int, int] = (1, 65_535)
    check: str = Field(default="check inter 1s", pattern=r"^[a-z0-9 ]*$")
    timeout_s: float = Field(default=5.0, gt=0)

    @field_validator("networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ipaddress.ip_network(network)
        return networks


class HaproxyDriver:
    """See the module."""

    verbs: Mapping[str, CrashClass] = dict.fromkeys(
        ("split", "set_weight", "drain", "ready", "add_server", "remove_server"), CrashClass.CONVERGENT
    )
    reverts: ClassVar[frozenset[str]] = frozenset(verbs)

    def __init__(self, settings: HaproxySettings) -> None:
        self.name = settings.name
        self._settings = settings
        self._client = HaproxyClient(settings.url, settings.timeout_s)

    def observe(self, target: str) -> Observation:
        """See `Driver.observe`."""
        return Observation(recorded(self._servers(target)))

    def diff(self, action: Action, observation: Observation) -> list[Difference]:
        """See `Driver.diff`."""
        servers = parsed(observation.state)
        wishes = self._wishes[action.verb](self, action, servers)
        return _changes(wishes, servers)

    def apply(self, action: Action, observation: Observation, _key: str, timeout_s: float, /) -> Applied:
        """See `Driver.apply`."""
        deadline = time.monotonic() + timeout_s
        before, now = parsed(observation.state), self._servers(action.target)
        wishes = self._wishes[action.verb](self, action, now)
        check_unmoved(before, now, wishes)
        if action.verb == "split" and _changes(wishes, now):
            self._check_step(action, before)
            self._await_up(action, deadline)
        return self._reach(action, wishes, now, deadline)

    def happened(self, action: Action, _before: Mapping[str, str], observation: Observation) -> bool | None:
        """See `Driver.happened`."""
        return not self.diff(action, observation)

    def revert(self, action: Action, before: Mapping[str, str], _key: str, timeout_s: float, /) -> Applied:
        """See `Driver.revert`: weights, states and the server itself as recorded, of the servers that it changed."""
        if action.verb not in self.reverts:
            raise nothing_to_put_back(action)
        deadline = time.monotonic() + timeout_s
        then, now = parsed(before), self._servers(action.target)
        done = self._wishes[action.verb](self, action, then)
        check_unmoved(then, now, done)
        wishes = {name: as_it_was(then.get(name), action.verb) for name in done}
        return self._reach(action, wishes, now, deadline)

    # -- what is wanted ----------------------------------------------------------------------------------------------

    def _split(self, action: Action, servers: Servers) -> Wishes:
        chosen = _chosen(action)
        percent = _number(action, "percent", 0, 100)
        _check_there(action.target, chosen, servers)
        ready = [name for name, server in servers.items() if server.state == READY]
        idle = [name for name in chosen if name not in ready]
        if percent and idle:
            raise PermanentError(f"`servers` has `{idle[0]}`, which is not ready: it is in `{servers[idle[0]].state}`")
        sizes = {name: max(1, server.size) for name, server in servers.items()}
        weights = weights_for(sizes, chosen, ready, percent)
        return {name: Wish(weight=weights[name]) for name in servers}

    def _set_weight(self, action: Action, servers: Servers) -> Wishes:
        name = _server_of(action)
        _check_there(action.target, [name], servers)
        return {name: Wish(weight=_number(action, "weight", 0, MAX_WEIGHT))}

    def _drain(self, action: Action, servers: Servers) -> Wishes:
        name = _server_of(action)
        _check_there(action.target, [name], servers)
        return {name: Wish(state=DRAIN)}

    def _ready(self, action: Action, servers: Servers) -> Wishes:
        name = _server_of(action)
        _check_there(action.target, [name], servers)
        return {name: Wish(state=READY)}

    def _add(self, action: Action, _servers: Servers) -> Wishes:
        name, address = checked(_server_of(action)), self._allowed_address(action)
        weight = _number(action, "weight", 0, MAX_WEIGHT) if "weight" in action.parameters else 0
        return {name: Wish(weight=weight, state=READY, address=address)}

    def _remove(self, action: Action, _servers: Servers) -> Wishes:
        return {checked(_server_of(action)): Wish(state=GONE)}

    def _allowed_address(self, action: Action) -> str:
        text = action.parameters.get("address", "")
        host, _, port = text.rpartition(":")
        try:
            address, number = ipaddress.ip_address(host), int(port)
        except ValueError:
            raise PermanentError(f"`address` is `{text}`, expected an IP address and a port") from None
        first, last = self._settings.ports
        networks = self._settings.networks
        if not any(address in ipaddress.ip_network(one) for one in networks) or not first <= number <= last:
            allowed = f"`networks` {', '.join(networks) or 'none'} and `ports` {first} to {last}"
            raise PermanentError(f"`address` is `{text}`, which is out of the bounds {allowed}")
        return text

    # -- bounds ------------------------------------------------------------------------------------------------------

    def _check_step(self, action: Action, before: Servers) -> None:
        """A split raises the share of the servers that it names by no more than may be."""
        had = sum((shares_of(before).get(name, Fraction(0)) for name in _chosen(action)), Fraction(0))
        percent, most = int(action.parameters["percent"]), self._settings.max_step_percent
        if percent - had > most:
            raise PermanentError(f"`percent` is {percent} after {written(had)}, the bound `max_step_percent` is {most}")

    def _await_floor(self, action: Action, wishes: Wishes, deadline: float) -> None:
        """Waits until enough servers would get requests afterwards, or no fewer than now.

        Raises `PermanentError` if too few could, `TransientError` if those that could do not come up in time.
        """
        least = self._settings.min_serving
        while True:
            now = self._servers(action.target)
            after = [granted(wishes.get(name, Wish()), server) for name, server in now.items()]
            left, had = sum(one.serves for one in after), sum(one.serves for one in now.values())
            if left >= min(least, had):
                return
            could = sum(one.would_serve for one in after)
            if could < least or time.monotonic() > deadline:
                refused = (
                    f"`{action.verb}` would leave {left} of {len(now)} servers that get requests, "
                    f"the bound `min_serving` is {least}"
                )
                if could < least:
                    raise PermanentError(refused)
                raise TransientError(f"{refused}; {could} could, and {could - left} of them are not up")
            time.sleep(POLL_S)

    # -- doing it ----------------------------------------------------------------------------------------------------

    def _reach(self, action: Action, wishes: Wishes, now: Servers, deadline: float) -> Applied:
        """Makes every server what it is to be."""
        if not _changes(wishes, now):
            return Applied(False, recorded(now))
        backend = action.target
        self._await_floor(action, wishes, deadline)
        changes = [
            partial(self._client.set_weight, backend, name, wishes[name].weight or 0)
            for name in in_order(_chosen(action), wishes, now)
        ]
        for name, wish in wishes.items():
            if wish.address is not None and name not in now:
                changes.append(partial(self._add_anew, backend, name, wish))
            if wish.address is not None and self._settings.check and (name not in now or now[name].state != READY):
                changes.append(partial(self._client.enable_check, backend, name))
            if wish.state is not None:
                changes.append(partial(self._moves[wish.state], self, backend, name, deadline))
        for number, change in enumerate(changes):
            with _part_is_done() if number else nullcontext():
                change()
        return Applied(True, self.observe(backend).state)

    def _add_anew(self, backend: str, name: str, wish: Wish) -> None:
        weight = wish.weight or 0
        size = weight if wish.size is None else wish.size
        self._client.add(backend, name, wish.address or "", size, self._settings.check)
        if size != weight:
            with _part_is_done():
                self._client.set_weight(backend, name, weight)

    def _drain_now(self, backend: str, name: str, deadline: float) -> None:
        if self._row(backend, name).state != DRAIN:
            self._client.set_state(backend, name, DRAIN)
        with _part_is_done():
            while sessions := self._row(backend, name).sessions:
                _pause(deadline, f"`{name}` has {sessions} requests under way")

    def _ready_now(self, backend: str, name: str, deadline: float) -> None:
        self._client.set_state(backend, name, READY)
        with _part_is_done():
            while not self._row(backend, name).up:
                _pause(deadline, f"`{name}` is ready and its health check fails")

    def _maint_now(self, backend: str, name: str, _deadline: float) -> None:
        self._client.set_state(backend, name, MAINT)

    def _remove_now(self, backend: str, name: str, deadline: float) -> None:
        """A server that is drained or in maintenance is part of the way there, and does not go back."""
        if self._row(backend, name).state != MAINT:
            self._drain_now(backend, name, deadline)
            with _part_is_done():
                self._client.set_state(backend, name, MAINT)
        with _part_is_done():
            while not self._is_deleted(backend, name):
                _pause(deadline, f"`{name}` still has connections")

    def _is_deleted(self, backend: str, name: str) -> bool:
        try:
            self._client.delete(backend, name)
        except TransientError:
            return False
        return True

    def _await_up(self, action: Action, deadline: float) -> None:
        """Waits for the servers of a split whose health check has not passed yet."""
        if action.parameters["percent"] == "0":
            return
        chosen = _chosen(action)
        while down := [row.name for row in self._client.servers(action.target) if row.name in chosen and not row.up]:
            if time.monotonic() > deadline:
                raise TransientError(f"`{down[0]}` is not up, so that it is given no requests")
            time.sleep(POLL_S)

    def _servers(self, backend: str) -> dict[str, Server]:
        if backend not in self._settings.backends:
            allowed = ", ".join(self._settings.backends)
            raise PermanentError(f"`target` is `{backend}`, the bound `backends` is {allowed}")
        return {row.name: server_of(row) for row in self._client.servers(backend)}

    def _row(self, backend: str, name: str) -> Row:
        for row in self._client.servers(backend):
            if row.name == name:
                return row
        raise MissingError(f"`{backend}` has no server `{name}` any more")

    _wishes: ClassVar[Mapping[str, Callable[["HaproxyDriver", Action, Servers], Wishes]]] = {
        "split": _split,
        "set_weight": _set_weight,
        "drain": _drain,
        "ready": _ready,
        "add_server": _add,
        "remove_server": _remove,
    }
    _moves: ClassVar[Mapping[str, Callable[["HaproxyDriver", str, str, float], None]]] = {
        DRAIN: _drain_now,
        READY: _ready_now,
        MAINT: _maint_now,
        GONE: _remove_now,
    }


# -- checks ------------------------------------------------------------------------------------------------------------


def _check_there(backend: str, names: list[str], servers: Servers) -> None:
    for name in names:
        if name not in servers:
            raise MissingError(f"`{backend}` has no server `{name}`")


def _changes(wishes: Wishes, servers: Servers) -> list[Difference]:
    return [difference for name, wish in wishes.items() for difference in differences(name, wish, servers)]


def _chosen(action: Action) -> list[str]:
    return [name.strip() for name in action.parameters.get("servers", "").split(",")]


def _server_of(action: Action) -> str:
    return action.parameters.get("server", "")


def _number(action: Action, name: str, least: int, most: int) -> int:
    text = action.parameters.get(name, "")
    if not (text.isascii() and text.isdecimal()):
        raise PermanentError(f"`{name}` is `{text}`, expected a whole number")
    if not least <= int(text) <= most:
        raise PermanentError(f"`{name}` is {text}, which is out of the bounds {least} to {most}")
    return int(text)


@contextmanager
def _part_is_done() -> Iterator[None]:
    """What fails in here comes after a change, and may have to be undone."""
    try:
        yield
    except TargetTimeoutError:
        raise
    except TargetError as error:
        raise PartialError(f"it was done in part: {error}") from error


def _pause(deadline: float, complaint: str) -> None:
    if time.monotonic() > deadline:
        raise TargetTimeoutError(f"{complaint} after the time given")
    time.sleep(POLL_S)
