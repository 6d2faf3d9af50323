#!/usr/bin/env bash
# Starts a Kubernetes cluster of one node on this machine, without Docker: etcd, API server, controller manager,
# scheduler, containerd and a kubelet, on free ports of the loopback interface. Needs root on Debian or Ubuntu.
#
#     infra/targets/kubernetes/up.sh FOLDER [--owner PID] [IMAGE.tar...]
#     infra/targets/kubernetes/up.sh install      the Debian packages that it needs, and nothing else
#
# FOLDER holds everything of the cluster, and in the end FOLDER/kubeconfig of its administrator, whose path is printed.
# Several clusters can run beside each other, each in a folder of its own. One that is up already is left as it is.
# What service accounts write is noted in FOLDER/audit.log. The images are imported; none is ever pulled. With an owner
# the cluster ends when that process does; otherwise down.sh FOLDER ends it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PACKAGES=(containerd runc containernetworking-plugins iproute2 openssl)
READY_WITHIN_S=180

say() { printf 'kubernetes: %s\n' "$*" >&2; }
failed() {
	say "$1; the logs are in $folder"
	[ -f "$folder/$2.log" ] && tail -n 5 "$folder/$2.log" >&2
	"$here/down.sh" "$folder" >&2
	exit 1
}

[ $# -ge 1 ] || { sed -n '2,13p' "$0" >&2; exit 2; }
if [ "$1" = install ]; then exec "$here/../debian.sh" "${PACKAGES[@]}"; fi
folder=$(realpath -m "$1")
shift
owner=
if [ "${1:-}" = --owner ]; then owner=$2; shift 2; fi
images=()
for image in "$@"; do images+=("$(realpath "$image")"); done

[ "$(id -u)" = 0 ] || { say 'containerd and the kubelet need root'; exit 1; }
[ "${#folder}" -le 60 ] || { say "the path of $folder is too long: sockets are in it, so at most 60 characters"; exit 1; }
"$here/../debian.sh" "${PACKAGES[@]}"
bin=$("$here/build.sh")
export PATH=$bin:$PATH KUBECONFIG=$folder/kubeconfig

if [ -e "$folder/up" ] && kubectl get --raw /readyz >/dev/null 2>&1; then
	say "it is up already in $folder"
	echo "$KUBECONFIG"
	exit 0
fi
"$here/down.sh" "$folder"
mkdir -p "$folder/cni"
cd "$folder"
began=$(date +%s%N)
took() { printf '%d.%d s' $((($(date +%s%N) - began) / 1000000000)) $((($(date +%s%N) - began) / 100000000 % 10)); }

# A cluster's number gives its addresses and its ports, which the kernel gives to nobody else where its own begin at 32768,
# as they do unless that was changed. Whoever can make the bridge has the number; one of whose ports somebody listens on
# is left.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
for number in $(seq 1 200); do
	ports=($((31000 + 3 * number)) $((31001 + 3 * number)) $((31002 + 3 * number)))
	if ip link add "apk8s$number" type bridge 2>/dev/null; then
		if ! listens "${ports[0]}" && ! listens "${ports[1]}" && ! listens "${ports[2]}"; then break; fi
		ip link del "apk8s$number"
	fi
	number=
done
[ -n "$number" ] || { say 'there are 200 clusters already'; exit 1; }
echo "$number" >number
node=10.244.$number.254
ip addr add "$node/32" dev lo 2>/dev/null || true
etcd=http://127.0.0.1:${ports[0]}

# -- its files --------------------------------------------------------------------------------------------------------

umask 077
openssl genrsa -out accounts.key 2048 2>/dev/null
openssl rsa -in accounts.key -pubout -out accounts.pub 2>/dev/null
token=$(openssl rand -hex 24)
echo "$token,admin,1,\"system:masters\"" >tokens.csv
cat >kubeconfig <<YAML
apiVersion: v1
kind: Config
clusters:
  - {name: local, cluster: {server: "https://127.0.0.1:${ports[2]}", certificate-authority: $folder/certificates/apiserver.crt}}
users:
  - {name: admin, user: {token: $token}}
contexts:
  - {name: local, context: {cluster: local, user: admin}}
current-context: local
YAML
cat >cni/bridge.conflist <<JSON
{"cniVersion": "1.0.0", "name": "bridge", "plugins": [{"type": "bridge", "bridge": "apk8s$number", "isGateway": true,
 "ipam": {"type": "host-local", "dataDir": "$folder/addresses", "routes": [{"dst": "0.0.0.0/0"}],
          "ranges": [[{"subnet": "10.244.$number.0/24", "rangeEnd": "10.244.$number.250"}]]}}]}
JSON
cat >audit.yaml <<YAML
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: Metadata, userGroups: ["system:serviceaccounts"], verbs: [create, update, patch, delete]}
  - {level: None}
YAML
# restrict_oom_score_adj: a container here may not be given a better score than containerd itself has.
case $(containerd --version) in
*' 1.'* | *' v1.'*)
	cat >containerd.toml <<TOML
version = 2
root = "$folder/containerd"
state = "$folder/state"
[grpc]
  address = "$folder/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/wait:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$folder/cni"
TOML
	;;
*)
	cat >containerd.toml <<TOML
version = 3
root = "$folder/containerd"
state = "$folder/state"
[grpc]
  address = "$folder/containerd.sock"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "localhost/wait:1"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "$folder/cni"
TOML
	;;
esac
# Control groups for each pod are left out, since the kubelets of two clusters would remove each other's. Limits of
# memory and of processor time are those of containers, and hold.
cat >kubelet.yaml <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $node
readOnlyPort: 0
healthzPort: 0
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: $folder/certificates/apiserver.crt}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix://$folder/containerd.sock
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
evictionHard: {}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
makeIPTablesUtilChains: false
localStorageCapacityIsolation: false
oomScoreAdj: 0
crashLoopBackOff: {maxContainerRestartPeriod: 4s}
YAML

# -- its processes ----------------------------------------------------------------------------------------------------

run() {
	local name=$1
	shift
	setsid nice -n 5 "$@" >"$name.log" 2>&1 </dev/null &
	echo $! >"$name.pid"
}

# Tries a command until it succeeds or a process has ended: await PROCESS WHAT COMMAND...
await() {
	local process=$1 what=$2 deadline=$((SECONDS + READY_WITHIN_S))
	shift 2
	until "$@" >/dev/null 2>&1; do
		kill -0 "$(cat "$process.pid")" 2>/dev/null || failed "$process ended before $what" "$process"
		[ "$SECONDS" -lt "$deadline" ] || failed "$what took more than $READY_WITHIN_S s" "$process"
		sleep 0.1
	done
}

if [ -n "$owner" ]; then
	setsid bash -c 'while kill -0 "$1" 2>/dev/null; do sleep 1; done; exec "$2" "$3"' keeper \
		"$owner" "$here/down.sh" "$folder" >keeper.log 2>&1 </dev/null &
	echo $! >keeper.pid
fi
run etcd etcd --unsafe-no-fsync --data-dir etcd --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
	--listen-peer-urls "http://127.0.0.1:${ports[1]}"
run containerd containerd --config "$folder/containerd.toml"
run apiserver kube-apiserver --etcd-servers="$etcd" --bind-address=127.0.0.1 --advertise-address=127.0.0.1 \
	--endpoint-reconciler-type=none --secure-port="${ports[2]}" --cert-dir="$folder/certificates" \
	--token-auth-file=tokens.csv --authorization-mode=RBAC --service-cluster-ip-range=10.96.0.0/24 \
	--service-account-issuer=https://kubernetes.default.svc --service-account-key-file=accounts.pub \
	--audit-policy-file=audit.yaml --audit-log-path="$folder/audit.log" \
	--service-account-signing-key-file=accounts.key --kubelet-preferred-address-types=InternalIP
ctr() { command ctr -a "$folder/containerd.sock" -n k8s.io "$@"; }
await containerd 'containerd answers' ctr version
for image in "$bin/../wait.tar" "${images[@]}"; do ctr images import "$image" >>import.log 2>&1 || failed "$image cannot be imported" import; done
await apiserver 'the API server answers' kubectl get --raw /readyz
run controllers kube-controller-manager --kubeconfig=kubeconfig --leader-elect=false --secure-port=0 \
	--service-account-private-key-file=accounts.key --root-ca-file="$folder/certificates/apiserver.crt"
run scheduler kube-scheduler --kubeconfig=kubeconfig --leader-elect=false --secure-port=0
run kubelet kubelet --config=kubelet.yaml --kubeconfig=kubeconfig --hostname-override=node-1 --node-ip="$node" \
	--root-dir="$folder/kubelet" --cert-dir="$folder/kubelet-certificates"
await kubelet 'the node registers' kubectl get node node-1
await kubelet 'the node is ready' kubectl wait --for=condition=Ready node/node-1 --timeout=1s
await controllers 'the default service account is there' kubectl get serviceaccount default
touch up
say "version $(basename "$(dirname "$bin")") is up after $(took) in $folder"
echo "$KUBECONFIG"
