#!/bin/sh
# One broker from its environment: KAFKA_LOG_DIRS is log.dirs, `__` stands for `_` and `___` for `-`.
set -eu
properties=/tmp/server.properties
env | sed -n 's/^KAFKA_//p' | sort | while IFS='=' read -r name value; do
    case $name in HEAP_OPTS | OPTS) continue ;; esac
    name=$(printf %s "$name" | tr '[:upper:]' '[:lower:]' | sed 's/___/-/g; s/__/%/g; s/_/./g; s/%/_/g')
    printf '%s=%s\n' "$name" "$value"
done > "$properties"
/opt/kafka/bin/java.sh kafka.tools.StorageTool format --ignore-formatted --config "$properties" \
    --cluster-id "${CLUSTER_ID:-$(/opt/kafka/bin/java.sh kafka.tools.StorageTool random-uuid)}"
KAFKA_HEAP_OPTS=${KAFKA_HEAP_OPTS:--Xms128m -Xmx512m} exec /opt/kafka/bin/java.sh kafka.Kafka "$properties"
