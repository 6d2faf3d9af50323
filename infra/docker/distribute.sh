#!/bin/sh
# Makes what is missing of certificates and passwords, and puts into each container's own volume what is for it alone.
# Run as root: the files belong to the user of the process (0600), or are in a volume that one other program mounts.
set -eu
autopilot security init --host kafka
cd "$AUTOPILOT_HOME/security"
for name in observer planner policy executor verifier effector sealer clock otlp projector kpis notifier people; do
  install -m 0644 ca.pem "/to/$name/ca"
  install -m 0600 -o autopilot "credentials/$name" "/to/$name/password"
done
install -m 0644 ca.pem /to/prepare/ca
install -m 0600 -o autopilot admin.pem /to/prepare/admin
install -m 0644 ca.pem /to/kafka/ca
install -m 0444 broker.pem /to/kafka/broker
install -m 0444 registry.properties /to/registry/registry.properties
