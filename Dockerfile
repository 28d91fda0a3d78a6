# One image for every role: `unjoin collect`, `unjoin process`, `unjoin sink`, `unjoin topics`.

FROM python:3.11.14-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src

# For our own compiled parts; they stay in this stage.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

# Dependencies first: they change less often than the code. Wheels alone: nothing of others is compiled here.
COPY requirements/build.lock requirements/run.lock requirements/
RUN python -m venv /opt/unjoin \
    && /opt/unjoin/bin/pip install --require-hashes --only-binary :all: -r requirements/run.lock \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --only-binary :all: -r requirements/build.lock

COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY ingest ingest
COPY processors processors
COPY sinks sinks
COPY unjoin unjoin
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels . \
    && /opt/unjoin/bin/pip install --no-deps --no-index /wheels/*.whl \
    # Elsewhere they are left out where they cannot be compiled, and all is slower; here that would be a mistake.
    && /opt/unjoin/bin/python -I -c "import ingest.decode._signal_values, ingest.http._split, ingest.kafka._murmur2, sinks.blocks._native, sinks.kafka._rows" \
    && /opt/unjoin/bin/pip uninstall --yes pip setuptools


FROM python:3.11.14-slim-bookworm
# What installs packages has no business in a running container.
RUN pip uninstall --root-user-action=ignore --yes pip setuptools wheel \
    && groupadd --gid 10001 unjoin \
    && useradd --uid 10001 --gid unjoin --no-create-home --home-dir /var/lib/unjoin --shell /usr/sbin/nologin unjoin \
    # A new named volume takes owner and mode from what the image has at its place.
    && install --directory --owner unjoin --group unjoin --mode 700 \
        /var/lib/unjoin /var/lib/unjoin/keys /var/lib/unjoin/keys/edge /var/lib/unjoin/keys/epoch
COPY --from=build /opt/unjoin /opt/unjoin

ENV PATH=/opt/unjoin/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    UNJOIN_DATA_DIR=/var/lib/unjoin
WORKDIR /var/lib/unjoin
USER 10001:10001
EXPOSE 8080

# Health checks differ by role, so docker-compose.yml has them.
ENTRYPOINT ["/opt/unjoin/bin/unjoin"]
CMD ["--help"]
