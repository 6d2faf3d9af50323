#!/usr/bin/env bash
# Installs Debian or Ubuntu packages that are missing, and says which. Needs root only when one is missing.
#
#     infra/targets/debian.sh PACKAGE...
#
# Exit code 3: this machine cannot install them; the message says what is needed.
set -euo pipefail

[ $# -ge 1 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
cannot() { printf 'needed here: %s, and %s\n' "$*" "$reason" >&2; exit 3; }

reason='there is no apt-get to install them with'
command -v apt-get >/dev/null && command -v dpkg-query >/dev/null || cannot "$@"
missing=()
for package in "$@"; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
reason="only root can install them; you are $(id -un)"
[ "$(id -u)" = 0 ] || cannot "${missing[@]}"
printf 'installing %s\n' "${missing[*]}" >&2
lock=(-o DPkg::Lock::Timeout=180)
reason='apt-get could not install them'
apt-get "${lock[@]}" update -qq || cannot "${missing[@]}"
DEBIAN_FRONTEND=noninteractive apt-get "${lock[@]}" install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
	cannot "${missing[@]}"
