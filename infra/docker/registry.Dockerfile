# Apicurio Registry as `autopilot up` runs it, made from files of this machine; settings as in its own image.
ARG BASE
FROM ${BASE}

RUN useradd --create-home --uid 1000 registry
COPY java /opt/java
COPY registry /opt/registry
USER registry
EXPOSE 8080
ENTRYPOINT ["/opt/java/bin/java", "-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", \
    "-jar", "/opt/registry/quarkus-run.jar"]
