#!/usr/bin/env bash
# A Docker-compatible engine where there is no Docker: Podman from Debian's packages, behind a socket.
#
#   infra/docker/podman-setup.sh install            packages that are missing (Debian or Ubuntu, as root)
#   infra/docker/podman-setup.sh with COMMAND ...   COMMAND with DOCKER_HOST on a socket of our own, ended afterwards
#   infra/docker/podman-setup.sh clean              ends what is left of our containers and removes images and layers
#
# Images and layers stay in CONTAINERS_STORE (default: autopilot/containers in the user's cache folder), apart from
# any other Podman of the machine; `with` takes one caller at a time there. Another store wants another folder for what
# runs in it: CONTAINERS_STATE. Exit code 3: this machine cannot do it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
store=${CONTAINERS_STORE:-${XDG_CACHE_HOME:-$HOME/.cache}/autopilot/containers}
state=${CONTAINERS_STATE:-/run/autopilot-podman}
packages=(podman runc crun conmon netavark aardvark-dns catatonit iptables docker-compose debootstrap)
config=$store/containers.conf
pid_file=$state/service.pid

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
cannot() { printf 'containers cannot be run here: %s\n' "$*" >&2; exit 3; }

need_root() { [ "$(id -u)" = 0 ] || cannot "Podman is installed and run as root by this script; you are $(id -un)"; }

missing() {
    local package
    for package in "${packages[@]}"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || echo "$package"
    done
}

install_packages() {
    need_root
    command -v apt-get >/dev/null && command -v dpkg-query >/dev/null \
        || cannot 'there is no apt-get; this script installs Podman on Debian and Ubuntu'
    local wanted
    mapfile -t wanted < <(missing)
    if [ ${#wanted[@]} -eq 0 ]; then
        say "podman: $(podman --version), installed already"
        return
    fi
    say "podman: installing ${wanted[*]}"
    local lock=(-o DPkg::Lock::Timeout=180)
    apt-get "${lock[@]}" update -qq || cannot 'apt-get update failed'
    DEBIAN_FRONTEND=noninteractive apt-get "${lock[@]}" install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null \
        || cannot "apt-get could not install ${wanted[*]}"
    say "podman: $(podman --version)"
}

# runc, because crun does not start under every layout of control groups; cgroupfs and a file of events, because there
# may be no systemd; limits, because the defaults are above what a container of our own may set.
configure() {
    mkdir -p "$store/networks" "$state"
    cat > "$config" <<CONF
[containers]
default_ulimits = ["nofile=$(limit -n 20000):$(limit -n 20000)", "nproc=$(limit -u 10000):$(limit -u 10000)"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
compat_api_enforce_docker_hub = false
tmp_dir = "$state/libpod"
[network]
network_backend = "netavark"
network_config_dir = "$store/networks"
CONF
    cat > "$store/storage.conf" <<CONF
[storage]
driver = "${CONTAINERS_DRIVER:-overlay}"
graphroot = "$store/storage"
runroot = "$state/storage"
CONF
    export CONTAINERS_CONF=$config CONTAINERS_STORAGE_CONF=$store/storage.conf
}

limit() {
    local ours
    ours=$(ulimit -H "$1")
    if [ "$ours" = unlimited ] || [ "$ours" -gt "$2" ]; then echo "$2"; else echo "$ours"; fi
}

ready() {
    need_root
    command -v podman >/dev/null || cannot "podman is not installed: $0 install"
    configure
    exec 9>"$store/lock"
    flock -w 900 9 || cannot "another run has held $store/lock for 15 minutes"
}

# Whatever COMMAND left behind in our store, also when it was killed, and the service itself.
end_service() {
    local left
    left=$(podman ps --all --quiet)
    if [ -n "$left" ]; then
        say "removing $(wc -l <<<"$left") containers that were left"
        podman rm --all --force --time 5 --volumes >/dev/null || true
    fi
    podman network prune --force >/dev/null || true
    podman volume prune --force >/dev/null || true
    end_pid
    rm -rf "$folder"
}

# The service whose pid is in the file, if it still is that: a number may have been given to another process since.
end_pid() {
    local pid
    pid=$(cat "$pid_file" 2>/dev/null || true)
    if [ -n "$pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -q '^podman system service'; then
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -9 "$pid" 2>/dev/null || true
    fi
    rm -f "$pid_file"
}

# The lock stays with this process: a child that inherited it could outlive us and keep it.
with_service() {
    ready
    end_pid
    folder=$(mktemp -d)
    podman system service --time 0 "unix://$folder/podman.sock" 9>&- 2>"$folder/log" &
    local service=$! begun=$SECONDS
    echo "$service" > "$pid_file"
    trap end_service EXIT
    trap 'exit 130' INT TERM
    # Its socket is there before it answers.
    until timeout 20 podman --remote --url "unix://$folder/podman.sock" version >/dev/null 2>&1; do
        kill -0 "$service" 2>/dev/null || cannot "podman system service ended: $(tail -n 3 "$folder/log")"
        [ $SECONDS -lt $((begun + 120)) ] || cannot "podman does not answer within 120 s: $(tail -n 3 "$folder/log")"
        sleep 0.1
    done
    export DOCKER_HOST=unix://$folder/podman.sock TESTCONTAINERS_RYUK_DISABLED=true
    "$@" 9>&-
}

clean() {
    ready
    podman system reset --force >/dev/null
    say "removed: $store/storage"
}

case ${1:-} in
    install) install_packages ;;
    with) shift; [ $# -gt 0 ] || { sed -n '2,10p' "$here/podman-setup.sh" >&2; exit 2; }; with_service "$@" ;;
    clean) clean ;;
    *) sed -n '2,10p' "$here/podman-setup.sh" >&2; exit 2 ;;
esac
