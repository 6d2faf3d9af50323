#!/usr/bin/env bash
# Ends the cluster that up.sh has started in FOLDER, with its containers, mounts and addresses, and removes FOLDER.
#
#     infra/targets/kubernetes/down.sh FOLDER
#
# Nothing of another cluster is touched. It may be called again, and for a folder that is not there.
set -uo pipefail

[ $# -eq 1 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
folder=$(realpath -m "$1")
[ -d "$folder" ] || exit 0
# A folder without these files was not made by up.sh, and is not ours to remove.
[ -e "$folder/number" ] || { rmdir "$folder/cni" "$folder" 2>/dev/null; exit 0; }
cd "$folder" || exit 1

ctr() { command ctr -a "$folder/containerd.sock" --connect-timeout 3s -n k8s.io "$@" 2>/dev/null; }
runs() { [ -f "$1.pid" ] && grep -qF "$folder" "/proc/$(cat "$1.pid")/environ" 2>/dev/null; }

# Ends a process of the cluster and waits for it. Its environment names the folder, so that a number that was given to
# another process since is left alone.
end() {
	runs "$1" || return 0
	kill "$(cat "$1.pid")" 2>/dev/null
	for _ in $(seq 60); do runs "$1" || return 0; sleep 0.1; done
	kill -9 "$(cat "$1.pid")" 2>/dev/null
	for _ in $(seq 60); do runs "$1" || return 0; sleep 0.1; done
}

runs keeper && [ "$(cat keeper.pid)" != $$ ] && kill "$(cat keeper.pid)" 2>/dev/null
end kubelet
end controllers
end scheduler
tasks=$(ctr tasks ls -q)
spaces=$(for container in $(ctr containers ls -q); do
	ctr containers info --spec "$container" | grep -o '/netns/cni-[0-9a-f-]*'
done | sort -u)
for task in $tasks; do ctr tasks kill -s SIGKILL "$task" & done
wait
for task in $tasks; do ctr tasks rm -f "$task" >/dev/null & done
wait
end containerd
end apiserver
end etcd

number=$(cat number)
for mounted in $(awk -v folder="$folder/" 'index($2, folder) == 1 {print $2}' /proc/mounts | sort -r); do umount -l "$mounted"; done
for space in $spaces; do ip netns del "$(basename "$space")" 2>/dev/null; done
ip addr del "10.244.$number.254/32" dev lo 2>/dev/null
ip link del "apk8s$number" 2>/dev/null # the last of what the number gives: from here on it is another cluster's
cd / && rm -rf "$folder"
exit 0
