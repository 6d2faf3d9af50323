#!/usr/bin/env bash
# Installs what is missing of some Debian packages: infra/targets/debian.sh PACKAGE...
# Quiet when all are there. Where it cannot install them (no apt, not root) it says what is needed; exit code 3.
set -euo pipefail

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "needed here, and there is no apt-get to install it with: $*" >&2
  exit 3
fi

installed() { [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing=()
for package in "$@"; do
  installed "$package" || missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "needed here, and only root can install it: apt-get install ${missing[*]}" >&2
  exit 3
fi

echo "installing the Debian packages ${missing[*]}" >&2
# One at a time: whoever comes second waits for the first and then has less to do. Services are not started.
exec 9>"${TMPDIR:-/tmp}/autopilot-apt.lock"
flock 9
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
quietly() { local said; said="$("$@" 2>&1)" || { printf '%s\n' "$said" >&2; exit 3; }; }
quietly apt-get -o DPkg::Lock::Timeout=300 update -qq
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
quietly apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}"
