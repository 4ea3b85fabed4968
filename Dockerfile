# Three images from one file: hub, edge, traffic (--target), each FROM scratch with one program, the
# libraries that it links, a CA bundle and its state folder.  `demo` and `prometheus` are a sample origin
# and Debian's Prometheus for two profiles of compose; they are no part of the product.  Plain instructions only, no syntax line and no
# heredocs, so that old engines and machines without a registry build it too.

# The packages first: sources change more often than they do.
FROM debian:trixie-slim AS build
WORKDIR /src
COPY scripts/deps.sh scripts/
RUN apt-get -qq update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends ca-certificates >/dev/null \
    && scripts/deps.sh build \
    && rm -rf /var/lib/apt/lists/*
COPY CMakeLists.txt CMakePresets.json CHANGELOG.md ./
COPY cmake cmake
COPY packaging packaging
COPY api api
COPY lib lib
COPY services services
RUN cmake --preset release >/dev/null && cmake --build --preset release
COPY scripts/image-root.sh scripts/sbom.sh scripts/
RUN scripts/image-root.sh build/release/bin /image

FROM scratch AS hub
ARG VERSION=0.1.0
ARG REVISION=
ARG CREATED=
ARG SOURCE=
LABEL org.opencontainers.image.title="penstock-hub" \
      org.opencontainers.image.description="Ends the tunnels of the edges and forwards their streams to the cluster's ingress" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.vendor="The Penstock authors" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="scratch"
COPY --from=build /image/hub/ /
USER 65532:65532
WORKDIR /
ENV PENSTOCK_MANAGEMENT__LISTEN=0.0.0.0:9001
EXPOSE 8443/tcp 8443/udp 9001/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s --retries=3 CMD ["/penstock-hub", "healthcheck"]
ENTRYPOINT ["/penstock-hub"]

FROM scratch AS edge
ARG VERSION=0.1.0
ARG REVISION=
ARG CREATED=
ARG SOURCE=
LABEL org.opencontainers.image.title="penstock-edge" \
      org.opencontainers.image.description="Listens at the network's border and carries every connection to the hub" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.vendor="The Penstock authors" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="scratch"
COPY --from=build /image/edge/ /
USER 65532:65532
WORKDIR /
ENV PENSTOCK_MANAGEMENT__LISTEN=0.0.0.0:9002
EXPOSE 80/tcp 443/tcp 9002/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s --retries=3 CMD ["/penstock-edge", "healthcheck", "--ready"]
ENTRYPOINT ["/penstock-edge"]

FROM scratch AS traffic
ARG VERSION=0.1.0
ARG REVISION=
ARG CREATED=
ARG SOURCE=
LABEL org.opencontainers.image.title="penstock-traffic" \
      org.opencontainers.image.description="HTTPS ingress: ends TLS, checks basic auth, proxies by host name" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.vendor="The Penstock authors" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="scratch"
COPY --from=build /image/traffic/ /
USER 65532:65532
WORKDIR /
ENV PENSTOCK_MANAGEMENT__LISTEN=0.0.0.0:9003
EXPOSE 7999/tcp 8000/tcp 9003/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s --retries=3 CMD ["/penstock-traffic", "healthcheck"]
ENTRYPOINT ["/penstock-traffic"]

FROM debian:trixie-slim AS demo
RUN apt-get -qq update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3 openssl curl >/dev/null \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o 65532 -g 65532 -m 700 /var/lib/penstock/traffic
COPY scripts/origin.py scripts/demo.py /demo/
USER 65532:65532
WORKDIR /tmp
EXPOSE 9080/tcp
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s --retries=3 CMD ["python3", "/demo/demo.py", "healthcheck"]
ENTRYPOINT ["python3", "-u", "/demo/demo.py"]

FROM debian:trixie-slim AS prometheus
RUN apt-get -qq update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends prometheus promtool >/dev/null \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o 65532 -g 65532 -m 700 /var/lib/penstock/prometheus
COPY packaging/compose/prometheus.yaml helm/penstock/files/alerts.yaml /etc/penstock/
USER 65532:65532
WORKDIR /tmp
EXPOSE 9090/tcp
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s --retries=3 CMD ["promtool", "check", "ready"]
ENTRYPOINT ["prometheus", "--config.file=/etc/penstock/prometheus.yaml", "--storage.tsdb.path=/var/lib/penstock/prometheus"]
CMD ["--storage.tsdb.retention.time=15d", "--storage.tsdb.retention.size=1GB"]
