#!/usr/bin/env bash
# Builds OpenTofu from its Go module, in the version of go.mod beside this file and with the hashes of its go.sum.
#
#   infra/targets/opentofu/build.sh      prints the path of the binary, which is built when it is missing (2 to 5 minutes)
#
# It is kept in autopilot/opentofu in the user's cache folder (AUTOPILOT_CACHE: instead of autopilot's cache folder).
# TOFU names a binary that is there already. Exit code 3: this machine has no Go.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${AUTOPILOT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/autopilot}/opentofu
version=$(sed -n 's#^require github.com/opentofu/opentofu v##p; s#^\tgithub.com/opentofu/opentofu v##p' "$here/go.mod" | cut -d' ' -f1)
tofu=$cache/tofu-$version

if [ -n "${TOFU:-}" ]; then echo "$TOFU"; exit; fi
if [ -x "$tofu" ]; then echo "$tofu"; exit; fi
command -v go >/dev/null || { echo 'OpenTofu cannot be built here: there is no Go toolchain' >&2; exit 3; }

mkdir -p "$cache"
exec 9>"$cache/lock"
flock -w 1800 9
if [ ! -x "$tofu" ]; then
    flags='-s -w -X github.com/opentofu/opentofu/version.dev=no'
    printf '\033[1m==> building OpenTofu %s\033[0m\n' "$version" >&2
    # as in kubernetes/build.sh: the compiler collects its garbage more rarely and writes nothing for debuggers
    export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOGC=400 GOMEMLIMIT=2GiB
    (cd "$here" && nice -n 10 go build -p 2 -trimpath -gcflags=all=-dwarf=false -ldflags "$flags" \
        -o "$tofu.new" github.com/opentofu/opentofu/cmd/tofu) >&2 9>&-
    mv "$tofu.new" "$tofu"
fi
echo "$tofu"
