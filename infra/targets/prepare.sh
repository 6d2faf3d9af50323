#!/usr/bin/env bash
# Installs and builds what the targets of `make test-targets` need and this machine lacks: minutes the first time, nothing
# later. Each part stays in the user's cache folder; see the scripts that are called.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
step() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }

step 'targets 1/4: HAProxy'
"$here/debian.sh" haproxy
step 'targets 2/4: an ECS of real containers'
"$here/ecs/serve.sh" install
step 'targets 3/4: OpenTofu (built once, 2 to 5 minutes)'
"$here/opentofu/build.sh" >/dev/null
step 'targets 4/4: Kubernetes (built once, 4 to 8 minutes)'
"$here/kubernetes/build.sh" >/dev/null
