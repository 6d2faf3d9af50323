"""A client of the query API.

    with Client("http://127.0.0.1:8080") as client:
        for incident in client.incidents(open_only=True).incidents:
            print(client.incident(incident.incident_id).timeline.stages)
        for change in client.changes():
            print(change.projection, change.key)

Answers are the models that the server itself answers with. Every method raises `httpx.HTTPStatusError` for an answer
that is an error (404 for an unknown incident) and `httpx.TransportError` when there is no answer.
"""

import json
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Final, Self, TypeVar

import httpx
from pydantic import BaseModel

from autopilot.projections import answers

A = TypeVar("A", bound=BaseModel)
TIMEOUT_S: Final = 10.0
QUIET_S: Final = 60.0
"""A feed that says nothing for so long, not even that it is still there, is taken for broken."""


class Client:
    """Talks to one server. Not for several threads at once."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_S, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives up the connections."""
        self._http.close()

    def incidents(self, *, open_only: bool = False, domain: str = "", service: str = "") -> answers.Incidents:
        """Incidents, oldest first."""
        wanted = {"open": str(open_only).lower(), "domain": domain, "service": service}
        return self._get(answers.Incidents, "/v1/incidents", wanted)

    def incident(self, incident_id: str) -> answers.Incident:
        """One incident with its timeline."""
        return self._get(answers.Incident, f"/v1/incidents/{incident_id}")

    def services(self) -> answers.Services:
        """Services, by name."""
        return self._get(answers.Services, "/v1/services")

    def approvals(self) -> answers.Approvals:
        """Plans that wait for people, oldest first."""
        return self._get(answers.Approvals, "/v1/approvals")

    def scoreboard(self) -> answers.Scoreboard:
        """Versions of the policy with what came of their decisions."""
        return self._get(answers.Scoreboard, "/v1/policies/scoreboard")

    def budgets(self) -> answers.Budgets:
        """What was authorised in each domain."""
        return self._get(answers.Budgets, "/v1/budgets")

    def agents(self) -> answers.Agents:
        """Agents, by name and partition."""
        return self._get(answers.Agents, "/v1/agents")

    def remedies(self) -> answers.Remedies:
        """Remedies in their contexts: what came of them, how sure they are, and how far they may go."""
        return self._get(answers.Remedies, "/v1/remedies")

    def projections(self) -> list[answers.ProjectionState]:
        """The views themselves, with their digests."""
        return self._get(answers.Projections, "/v1/projections").projections

    def health(self) -> answers.Health:
        """Whether the views follow the log; a server that does not is an answer, too."""
        answer = self._http.get("/healthz")
        return answers.Health.model_validate_json(answer.content)

    def wait_for(self, as_of: dict[int, int], timeout_s: float = 10.0) -> bool:
        """Whether every view has come to these offsets within the time: read-your-writes for who knows a position."""
        until = time.monotonic() + timeout_s
        while True:
            states = self.projections()
            if all(state.as_of.get(p, 0) >= offset for state in states for p, offset in as_of.items()):
                return True
            if time.monotonic() >= until:
                return False
            time.sleep(0.05)

    def changes(
        self, since: str = "", projections: Iterable[str] = (), *, reconnect: bool = True
    ) -> Iterator[answers.RowChange | answers.Reset]:
        """Rows as they change, for ever; `since` is the id of the last one seen, in whatever session.

        A broken connection is made again, and goes on where it was. `Reset` says that a view was rebuilt: read it
        whole. With `reconnect` off it ends when the connection does.
        """
        last, wanted = since, ",".join(projections)
        while True:
            try:
                for kind, at, data in self._feed(last, wanted):
                    last = at or last
                    if kind == "change":
                        yield answers.RowChange.model_validate_json(data)
                    elif kind == "reset":
                        yield answers.Reset.model_validate_json(data)
            except httpx.TransportError:
                if not reconnect:
                    return
            if not reconnect:
                return
            time.sleep(1.0)

    def _feed(self, last: str, wanted: str) -> Iterator[tuple[str, str, str]]:
        headers = {"Last-Event-ID": last} if last else {}
        query = {"projection": wanted} if wanted else {}
        timeout = httpx.Timeout(TIMEOUT_S, read=QUIET_S)
        with self._http.stream("GET", "/v1/changes", headers=headers, params=query, timeout=timeout) as answer:
            if answer.is_error:
                answer.read()
                answer.raise_for_status()
            yield from _events(answer.iter_lines())

    def _get(self, model: type[A], path: str, query: dict[str, str] | None = None) -> A:
        answer = self._http.get(path, params=query)
        answer.raise_for_status()
        return model.model_validate(json.loads(answer.content))


def _events(lines: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Kind, id and data of each server-sent event."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            if "data" in fields:
                yield fields.get("event", "message"), fields.get("id", ""), fields["data"]
            fields = {}
            continue
        name, _, value = line.partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
