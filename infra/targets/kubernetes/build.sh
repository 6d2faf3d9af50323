#!/usr/bin/env bash
# Builds what a Kubernetes cluster of one node is made of, from the Go module proxy: API server, controller manager,
# scheduler, kubelet, kubectl, etcd and the sandbox's waiting program. Prints the folder of the binaries.
#
#     infra/targets/kubernetes/build.sh [--check]
#
# They are kept in ${AUTOPILOT_CACHE:-~/.cache/autopilot}/kubernetes/VERSION; a second call finds them there. A build
# that was interrupted goes on where it was, since Go keeps what it has fetched and compiled. With --check nothing is
# built: it fails when they are not there.
set -euo pipefail

VERSION=1.36.3
KUBERNETES=(kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${AUTOPILOT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/autopilot}
FOLDER=$CACHE/kubernetes/$VERSION

say() { printf 'kubernetes: %s\n' "$*" >&2; }

if [ -e "$FOLDER/complete" ]; then echo "$FOLDER/bin"; exit 0; fi
[ "${1:-}" != --check ] || exit 1
command -v go >/dev/null || {
	say 'Go is needed to build it: version 1.21 or newer, which fetches the toolchain that Kubernetes asks for'; exit 1; }
mkdir -p "$FOLDER/bin" "$FOLDER/cmd/etcd" "$FOLDER/cmd/wait"
exec 9>"$FOLDER/lock"
flock 9
if [ -e "$FOLDER/complete" ]; then echo "$FOLDER/bin"; exit 0; fi
cd "$FOLDER"
export CGO_ENABLED=0 GOFLAGS=-mod=mod GOWORK=off GOTOOLCHAIN=auto

say "fetching the sources of Kubernetes $VERSION"
sources=$(cd / && go mod download -json "k8s.io/kubernetes@v$VERSION" | sed -n 's/.*"Dir": "\(.*\)",/\1/p')
go_version=$(awk '$1 == "go" {print $2}' "$sources/go.mod")

# Kubernetes replaces its own libraries by folders of its repository; as modules they have the version 0.MINOR.PATCH.
{
	printf 'module kubernetes.local\n\ngo %s\n\ngodebug default=go%s\n\n' "$go_version" "${go_version%.*}"
	printf 'require k8s.io/kubernetes v%s\n\nreplace (\n' "$VERSION"
	awk -v version="v0.${VERSION#1.}" '$2 == "=>" && $3 ~ /staging/ && $1 !~ /sample-|code-generator/ {
		print "\t" $1 " => " $1 " " version }' "$sources/go.mod"
	printf ')\n'
} >go.mod
cat >cmd/etcd/main.go <<'GO'
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
GO
cat >cmd/wait/main.go <<'GO'
// The first process of a pod: it holds the pod's namespaces until it is asked to end.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	<-ended
}
GO

# From what `go build -v` says: how many packages are compiled, and whatever is neither a package nor a download.
progress() {
	awk '/^[^ ]+$/ {if (++count % 250 == 0) {print "kubernetes: " count " packages compiled"; fflush()}; next}
		!/^go: (downloading|added)/ {print; fflush()}'
}

began=$SECONDS
stamp=k8s.io/component-base/version
flags="-s -w -X $stamp.gitVersion=v$VERSION -X $stamp.gitMajor=1 -X $stamp.gitMinor=$(cut -d. -f2 <<<"$VERSION")"
say "compiling ${KUBERNETES[*]} etcd wait"
# All at once: what they share is loaded once, and one is linked while another is compiled.
# The compiler collects its garbage more rarely, within bounds, and writes nothing for debuggers: a quarter less work.
export GOGC=400 GOMEMLIMIT=2GiB
nice -n 10 go build -v -trimpath -gcflags=all=-dwarf=false -ldflags "$flags" -o bin/ \
	./cmd/etcd ./cmd/wait "${KUBERNETES[@]/#/k8s.io/kubernetes/cmd/}" 2> >(progress >&2)
mkdir -p rootfs && cp bin/wait rootfs/
"$here/image.sh" wait.tar localhost/wait:1 rootfs /wait
touch complete
say "built in $((SECONDS - began)) s: $FOLDER/bin"
echo "$FOLDER/bin"
