"""The servers of a backend as a state: recorded, compared with what is wished, and checked against other writers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from autopilot.infra.effector.drivers.haproxy_client import DRAIN, MAINT, READY, Row
from autopilot.infra.effector.drivers.haproxy_shares import shares, written
from autopilot.infra.effector.port import ConflictError, Difference

DRAINING = "draining"
"""Draining, with requests under way."""
GONE = "gone"
"""The state of a server that is not there."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server in a recorded or a present state."""

    address: str
    weight: int
    size: int
    state: str
    up: bool = True

    @property
    def would_serve(self) -> bool:
        """Whether it gets requests once it is up."""
        return self.state == READY and self.weight > 0

    @property
    def serves(self) -> bool:
        """Whether it gets requests."""
        return self.would_serve and self.up


@dataclass(frozen=True, slots=True)
class Wish:
    """What a server is to be; None for what may stay as it is."""

    weight: int | None = None
    state: str | None = None
    address: str | None = None
    size: int | None = None


Servers = Mapping[str, Server]


def server_of(row: Row) -> Server:
    """The server in a row of HAProxy's."""
    state = DRAINING if row.state == DRAIN and row.sessions else row.state
    return Server(row.address, row.weight, row.initial, state, row.up)


def recorded(servers: Servers) -> dict[str, str]:
    """The servers as a target's state; `haproxy` says what its keys are."""
    state = {
        "servers": ",".join(servers),
        "addresses": ",".join(one.address for one in servers.values()),
        "weights": ",".join(str(one.weight) for one in servers.values()),
        "sizes": ",".join(str(one.size) for one in servers.values()),
        "states": ",".join(one.state for one in servers.values()),
        "serving": str(sum(one.serves for one in servers.values())),
    }
    return state | {f"percent.{name}": written(share) for name, share in shares_of(servers).items()}


def parsed(state: Mapping[str, str]) -> dict[str, Server]:
    """The servers in a recorded state, which says nothing about their health."""
    if not state.get("servers"):
        return {}
    columns = [state[key].split(",") for key in ("servers", "addresses", "weights", "sizes", "states")]
    return {
        name: Server(address, int(weight), int(size), is_)
        for name, address, weight, size, is_ in zip(*columns, strict=True)
    }


def shares_of(servers: Servers) -> dict[str, Fraction]:
    """The percentage of the requests that each server gets, counted among those that are ready."""
    return shares({name: one.weight if one.state == READY else 0 for name, one in servers.items()})


def differences(name: str, wish: Wish, servers: Servers) -> list[Difference]:
    """What a wish would change about a server."""
    there = servers.get(name)
    if there is None:
        return [] if wish.address is None else [Difference(f"server {name}", "", wish.address)]
    if wish.state == GONE:
        return [Difference(f"server {name}", there.address, "")]
    found = []
    if wish.weight is not None and wish.weight != there.weight:
        found.append(Difference(f"weight of {name}", str(there.weight), str(wish.weight)))
    if wish.state is not None and wish.state != there.state:
        found.append(Difference(f"state of {name}", there.state, wish.state))
    return found


def granted(wish: Wish, server: Server) -> Server:
    """The server once it is as wished."""
    weight = server.weight if wish.weight is None else wish.weight
    return replace(server, weight=weight, state=wish.state or server.state)


def as_it_was(then: Server | None, verb: str) -> Wish:
    """What undoes `verb` at a server that was so; None for one that was not there."""
    if then is None:
        return Wish(state=GONE)
    if verb in ("split", "set_weight"):
        return Wish(weight=then.weight)
    state = DRAIN if then.state == DRAINING else then.state
    return Wish(state=state) if verb in ("drain", "ready") else Wish(then.weight, state, then.address, then.size)


def in_order(chosen: Sequence[str], wishes: Mapping[str, Wish], now: Servers) -> list[str]:
    """The servers whose weights change, so ordered that the share of those that a split names never is too high.

    Where the others' weights fall, the named ones are set first, else last: the share is never above both its ends.
    """
    moving = [n for n, wish in wishes.items() if n in now and wish.weight not in (None, now[n].weight)]
    others = [name for name in moving if name not in chosen]
    named = [name for name in moving if name in chosen]
    falls = sum(wishes[name].weight or 0 for name in others) < sum(now[name].weight for name in others)
    return [*named, *others] if falls else [*others, *named]


def check_unmoved(before: Servers, now: Servers, wishes: Mapping[str, Wish]) -> None:
    """What is to be changed is as it was observed, or already as it is to be: nobody else has changed it."""
    for name, wish in wishes.items():
        then, there = before.get(name), now.get(name)
        if there is not None and wish.address not in (None, there.address):
            raise ConflictError(f"there is a server `{name}` already, at {there.address}")
        if there is None or (then is None and wish.address is not None):
            continue
        if then is None:
            raise ConflictError(f"`{name}` was added by someone else")
        if wish.weight is not None and there.weight not in (then.weight, wish.weight):
            raise ConflictError(
                f"the weight of `{name}` was changed from {then.weight} to {there.weight} by someone else"
            )
        on_the_way = {DRAIN, MAINT} if wish.state == GONE else {wish.state}
        if wish.state is not None and _rest(there) not in {_rest(then), *on_the_way}:
            raise ConflictError(f"the state of `{name}` was changed from {then.state} to {there.state} by someone else")


def _rest(server: Server) -> str:
    return DRAIN if server.state == DRAINING else server.state
