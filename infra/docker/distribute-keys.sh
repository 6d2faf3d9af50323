#!/bin/sh
# Puts into the home of each process that signs its own key and no other, and into the effector's the public key of the
# administrator whom it acts under. Run as root, after the keys were made; again after one was rotated.
set -eu
cd "$AUTOPILOT_HOME/keys"
for name in planner policy executor effector verifier sealer; do
  chown autopilot "/to/$name"
  install -d -m 0700 -o autopilot "/to/$name/keys"
  install -m 0600 -o autopilot "$name.key" "/to/$name/keys/$name.key"
  install -m 0644 -o autopilot "$name.pub" "/to/$name/keys/$name.pub"
done
install -m 0644 -o autopilot admin.pub /to/effector/keys/admin.pub
