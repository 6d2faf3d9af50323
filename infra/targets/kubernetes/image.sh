#!/usr/bin/env bash
# Makes a container image of one layer from a folder, as an archive that containerd imports: no registry, no builder.
#
#     infra/targets/kubernetes/image.sh OUT.tar NAME:TAG FOLDER PROGRAM [ARGUMENT...]
#
# The archive follows the OCI image layout. The same content gives the same digests.
set -euo pipefail

[ $# -ge 4 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
out=$(realpath -m "$1") name=$2 folder=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
blobs=$work/blobs/sha256
mkdir -p "$blobs" "$(dirname "$out")"

packed() { tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - "$@"; }

# Takes a blob from standard input; prints its digest without the algorithm's name.
kept() {
	local digest
	cat >"$work/blob"
	digest=$(sha256sum "$work/blob" | cut -d' ' -f1)
	mv "$work/blob" "$blobs/$digest"
	echo "$digest"
}

# The descriptor of a blob: its media type, digest and size.
described() {
	printf '{"mediaType":"application/vnd.oci.image.%s","digest":"sha256:%s","size":%s%s}' \
		"$1" "$2" "$(stat -c %s "$blobs/$2")" "${3:-}"
}

case $(uname -m) in aarch64) machine=arm64 ;; *) machine=amd64 ;; esac
command=$(printf '"%s",' "$@")
layer=$(packed -C "$folder" . | kept)
config=$(printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":[%s]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
	"$machine" "${command%,}" "$layer" | kept)
manifest=$(printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s,"layers":[%s]}' \
	"$(described config.v1+json "$config")" "$(described layer.v1.tar "$layer")" | kept)
printf '{"imageLayoutVersion":"1.0.0"}' >"$work/oci-layout"
printf '{"schemaVersion":2,"manifests":[%s]}' "$(described manifest.v1+json "$manifest" \
	",\"annotations\":{\"io.containerd.image.name\":\"$name\",\"org.opencontainers.image.ref.name\":\"${name##*:}\"}")" >"$work/index.json"
packed -C "$work" oci-layout index.json blobs >"$out.new"
mv "$out.new" "$out"
