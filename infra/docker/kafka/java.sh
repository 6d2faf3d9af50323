#!/bin/sh
# A class of Kafka with its jars; KAFKA_HEAP_OPTS and KAFKA_OPTS are for the Java machine.
exec /opt/java/bin/java ${KAFKA_HEAP_OPTS:--Xmx128m} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    --enable-native-access=ALL-UNNAMED -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp '/opt/kafka/libs/*' \
    ${KAFKA_OPTS:-} "$@"
