#!/usr/bin/env bash
# Installs and builds what the targets of `make test-targets` and `make test-loop` need and this machine lacks: minutes the
# first time, nothing later. Packages are installed while Go compiles. What is built stays in the user's cache folder, also
# when this is interrupted; see the scripts that are called. PYTHON: an interpreter for what is installed with pip.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
step() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }

# Each job has a process group of its own, so that what it has started ends with it.
set -m
end_jobs() { for job in $(jobs -p); do kill -TERM -- "-$job" 2>/dev/null || true; done; }
trap end_jobs EXIT

step 'targets: OpenTofu and Kubernetes (built once from Go modules, 6 to 10 minutes)'
"$here/opentofu/build.sh" >/dev/null &
opentofu=$!
"$here/kubernetes/build.sh" >/dev/null &
kubernetes=$!
step 'targets: HAProxy'
"$here/debian.sh" haproxy
step 'targets: an ECS of real containers'
"$here/ecs/serve.sh" install
step 'targets: containers for Kubernetes'
"$here/kubernetes/up.sh" install
wait "$opentofu"
wait "$kubernetes"
step "targets: all is there, after $SECONDS s"
