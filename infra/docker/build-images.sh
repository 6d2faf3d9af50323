#!/usr/bin/env bash
# The images of docker-compose.yml without an image registry: a base from Debian's packages, Kafka and the registry from
# the files that `autopilot up` runs, and the autopilot by its Dockerfile.
#
#   infra/docker/podman-setup.sh with infra/docker/build-images.sh
#
# Makes localhost/autopilot-base:local, localhost/autopilot-kafka:local, localhost/autopilot-registry:local and
# autopilot:local. What has not changed is taken from the last run. PYTHON is a Python with this project in it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

python=${PYTHON:-.venv/bin/python}
base=localhost/autopilot-base:local
stage=$(mktemp -d)
trap 'rm -rf --one-file-system "$stage"' EXIT

say() { printf '\033[1m==> image: %s\033[0m\n' "$*" >&2; }
size() { podman image inspect --format '{{.Size}}' "$1" | awk '{ printf "%d MB", $1 / 1000000 }'; }

# Mirror and release of this machine's own packages, so that a mirror it is set up with is used here as well.
build_base() {
    podman image exists "$base" && return
    local mirror release
    read -r mirror release < <(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' \
        'Created-By: Packages' 'Origin: Debian' 'Component: main' | head -n 1) || true
    say "$base: Debian ${release:=bookworm} with its Python, a minute"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
        "$release" "$stage/base" "${mirror:-http://deb.debian.org/debian}" >"$stage/debootstrap.log" 2>&1 \
        || { tail -n 20 "$stage/debootstrap.log" >&2; exit 1; }
    rm -rf "$stage"/base/var/cache/apt/* "$stage"/base/var/lib/apt/lists/* "$stage"/base/usr/share/{doc,man,locale}
    tar -C "$stage/base" -c . | podman import --quiet - "$base" >/dev/null
    rm -rf --one-file-system "$stage/base"
}

# Java, jars and the unpacked registry, fetched from Maven Central the first time.
gather() {
    say 'files of Java, Kafka and the registry'
    "$python" - "$stage" <<'PYTHON'
import shutil
import sys
from pathlib import Path

from autopilot.infra.platform.kafka import KAFKA_VERSION
from autopilot.infra.platform.maven import class_path, java
from autopilot.infra.platform.registry import EmbeddedRegistry

stage = Path(sys.argv[1])
tools = f"org.apache.kafka:kafka-tools:{KAFKA_VERSION}"
endpoint = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+{tools}+org.slf4j:slf4j-simple:1.7.36"
(stage / "kafka" / "jars").mkdir(parents=True)
for jar in class_path(endpoint, print):
    shutil.copy2(jar, stage / "kafka" / "jars")
registry = EmbeddedRegistry(stage / "home", "unused:0")
registry.prepare(print)
command = registry.command()
shutil.copytree(Path(command[command.index("-jar") + 1]).parent, stage / "registry" / "registry")
for image in ("kafka", "registry"):
    shutil.copytree(Path(java()).parents[1], stage / image / "java", symlinks=True)
PYTHON
    mkdir "$stage/kafka/bin"
    cp -p infra/docker/kafka/*.sh "$stage/kafka/bin/"
}

build() {
    local name=$1 file=$2 context=$3
    shift 3
    say "$name"
    podman build --quiet --layers --build-arg "BASE=$base" "$@" --tag "$name" --file "$file" "$context" >/dev/null
    say "$name: $(size "$name")"
}

# The package index is reached as this machine reaches it: its network, its certificates, its pip.conf.
build_autopilot() {
    local ours=(--network host) file
    for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
        [ ! -f "$file" ] || ours+=(--volume "$file:$file:ro")
    done
    build autopilot:local infra/docker/Dockerfile . "${ours[@]}"
}

build_base
gather
build localhost/autopilot-kafka:local infra/docker/kafka.Dockerfile "$stage/kafka"
build localhost/autopilot-registry:local infra/docker/registry.Dockerfile "$stage/registry"
build_autopilot
