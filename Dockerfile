# The image of a worker or of the HTTP API: Python, Bananas and their dependencies only.
# It has no handlers: an application adds its own (`bananas init` writes such a Dockerfile) and names
# their modules in WORKER_HANDLERS.
#
#   docker build -t bananas-worker .
#   docker run -e REDIS_URL=... -e WORKER_HANDLERS=shop.jobs bananas-worker
#   docker run --entrypoint python bananas-worker -m bananas_topology.api
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# Without pip: nothing is installed in production.
RUN python -m venv --without-pip /opt/venv
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY bananas_topology bananas_topology
RUN python -m pip wheel --no-deps --wheel-dir dist . \
 && wheel="$(ls dist/*.whl)" \
 && python -m pip --python /opt/venv/bin/python install --compile "${wheel}[api]"

FROM ${PYTHON_IMAGE}
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Bananas worker" \
      org.opencontainers.image.description="A distributed task queue on Redis whose deployment is one file" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Byte code is compiled at build time; the root file system may be read-only.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A volume mounted at the log directory inherits its owner.
RUN groupadd --gid 10001 bananas \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin bananas \
 && install -d /app \
 && install -d -o 10001 -g 10001 -m 0750 /var/log/bananas
COPY --from=builder /opt/venv /opt/venv
WORKDIR /app
# By number, so that Kubernetes can verify that it is not root.
USER 10001:10001
STOPSIGNAL SIGTERM
# No HEALTHCHECK: Compose files and manifests define their own.
ENTRYPOINT ["python", "-m", "bananas_topology.worker"]
