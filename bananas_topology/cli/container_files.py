"""What `bananas init` writes for containers: an image of the app's own, with its handlers in it."""

from __future__ import annotations

from bananas_topology import __version__

DOCKERFILE_NAME = "Dockerfile"
DOCKERIGNORE_NAME = ".dockerignore"

_DOCKERFILE = """\
# The image of this app's workers: Python, Bananas, and the handlers in jobs.py.
#
#   docker build -t bananas-worker .
#
# A private package index: --build-arg PIP_EXTRA_INDEX_URL=https://...
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS builder
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \\
    PIP_NO_CACHE_DIR=1 \\
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# Without pip in the environment itself: what runs in production installs nothing.
RUN python -m venv --without-pip /opt/venv \\
 && python -m pip --python /opt/venv/bin/python install "bananas-topology[api]==@version@"
# What the handlers need beside Bananas goes into requirements.txt, if there is one.
COPY jobs.py requirements*.txt ./
RUN if [ -f requirements.txt ]; then \\
      python -m pip --python /opt/venv/bin/python install -r requirements.txt; \\
    fi

FROM ${PYTHON_IMAGE}
# Byte code was written when the environment was made; the root file system may be read-only.
ENV PATH=/opt/venv/bin:$PATH \\
    PYTHONDONTWRITEBYTECODE=1 \\
    PYTHONUNBUFFERED=1
# The user that rendered manifests name; a volume mounted at the log directory takes over its owner.
RUN groupadd --gid 10001 bananas \\
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin \\
      bananas \\
 && install -d -o 10001 -g 10001 -m 0750 /var/log/bananas
COPY --from=builder /opt/venv /opt/venv
WORKDIR /app
# The app's own modules; what else they import goes here too, and into .dockerignore.
COPY jobs.py ./
ENV WORKER_HANDLERS=jobs
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "bananas_topology.worker"]
"""

_DOCKERIGNORE = """\
# Only what the image is made from: secrets in .env and data in .bananas never get near it.
*
!jobs.py
!requirements*.txt
"""


def container_files() -> dict[str, str]:
    """The files by name, for a folder whose handlers are in ``jobs.py``."""
    return {
        DOCKERFILE_NAME: _DOCKERFILE.replace("@version@", __version__),
        DOCKERIGNORE_NAME: _DOCKERIGNORE,
    }
