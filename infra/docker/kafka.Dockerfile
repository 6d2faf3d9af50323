# Apache Kafka as `autopilot up` runs it, made from files of this machine; settings as in the image `apache/kafka`.
ARG BASE
FROM ${BASE}

RUN useradd --create-home --uid 1000 kafka && mkdir -p /var/lib/kafka/data && chown kafka /var/lib/kafka/data
COPY java /opt/java
COPY jars /opt/kafka/libs
COPY bin /opt/kafka/bin
USER kafka
VOLUME /var/lib/kafka/data
EXPOSE 9092
ENTRYPOINT ["/opt/kafka/bin/entrypoint.sh"]
