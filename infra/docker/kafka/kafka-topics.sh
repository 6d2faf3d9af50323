#!/bin/sh
exec /opt/kafka/bin/java.sh org.apache.kafka.tools.TopicCommand "$@"
