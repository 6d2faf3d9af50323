"""The golden logs: what five agents made of a few courses of events, kept as archives.

    PYTHONPATH=tests/unit python tests/replay/golden.py

writes them anew, after a change of behaviour that is wanted; the commit then says which and why.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from loop import Loop

from autopilot.infra.simulate.log_output import write_topics

FOLDER = Path(__file__).with_name("logs")


def _bad_release() -> Loop:
    loop = Loop(services=2)
    loop.run(8)
    loop.break_("svc-000")
    loop.run(25)
    return loop


def _silence() -> Loop:
    loop = Loop(services=2)
    loop.run(8)
    loop.runner.advance(seconds=90)
    loop.run(12)
    return loop


def _twice() -> Loop:
    loop = Loop(services=3)
    loop.run(8)
    for _ in range(2):
        loop.break_("svc-001")
        loop.run(3)
        loop.break_("svc-002")
        loop.run(30)
    return loop


COURSES: dict[str, Callable[[], Loop]] = {"bad-release": _bad_release, "silence": _silence, "twice": _twice}


def main() -> None:
    """Writes every golden log."""
    for name, course in COURSES.items():
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        write_topics(course().runner, FOLDER / name, seed=1)


if __name__ == "__main__":
    main()
