#!/usr/bin/env bash
# Amazon's ECS API on 127.0.0.1, served by MiniStack, with tasks as real containers of a Podman of its own.
#
#   infra/targets/ecs/serve.sh install   installs what it needs
#   infra/targets/ecs/serve.sh PORT      serves until it is ended; whoever calls without a credential of IAM's is refused
#
# Needs root, on Debian or Ubuntu. What it installs stays in autopilot/ecs in the user's cache folder (AUTOPILOT_CACHE:
# instead of autopilot's cache folder). PYTHON: an interpreter from 3.11 to 3.13. The administrator's key and secret are
# in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Images for tasks: localhost/task:v1, v2 and v3. Exit code 3: this
# machine cannot do it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${AUTOPILOT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/autopilot}/ecs
podman_setup=$here/../../docker/podman-setup.sh
environment=$cache/ministack-$(sha256sum "$here/requirements.txt" | cut -c 1-12)

install() {
    "$podman_setup" install
    "$here/../debian.sh" busybox-static
    mkdir -p "$cache"
    exec 8>"$cache/lock"
    flock -w 300 8
    if [ ! -e "$environment/.ready" ]; then
        printf '\033[1m==> installing MiniStack\033[0m\n' >&2
        rm -rf "$environment"
        "${PYTHON:-python3}" -m venv "$environment"
        "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
            --only-binary :all: -r "$here/requirements.txt"
        touch "$environment/.ready"
    fi
    exec 8>&-
}

# One static binary and a name for it: all that a task needs.
images() {
    local root
    root=$(mktemp -d)
    mkdir "$root/bin" "$root/tmp"
    cp "$(command -v busybox)" "$root/bin/busybox"
    ln -s busybox "$root/bin/sh"
    for tag in v1 v2 v3; do
        podman image exists "localhost/task:$tag" \
            || tar -C "$root" -c . | podman import --quiet --change 'ENV PATH=/bin' - "localhost/task:$tag" >/dev/null
    done
    rm -rf "$root"
}

case ${1:-} in
    serve-inside)
        images
        cd "$(mktemp -d)"
        export AUTH=true BIND_HOST=127.0.0.1 GATEWAY_PORT=$2 SERVICES=ecs,iam,sts LOG_LEVEL=${LOG_LEVEL:-WARNING}
        exec "$environment/bin/python" -m ministack
        ;;
    install) install ;;
    '' | *[!0-9]*) sed -n '2,11p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
    *)
        install
        # a service's images are looked for at their registry first: that there is none is told at once
        printf '[[registry]]\nlocation = "localhost"\nblocked = true\n' > "$cache/registries.conf"
        export CONTAINERS_REGISTRIES_CONF=$cache/registries.conf
        export CONTAINERS_STORE=$cache/containers CONTAINERS_STATE=/run/autopilot-ecs
        exec "$podman_setup" with "${BASH_SOURCE[0]}" serve-inside "$1"
        ;;
esac
