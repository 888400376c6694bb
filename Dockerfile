# The production image: `coach start`, and every other command that needs nothing local.
# tests/integration/test_image.py runs the builder's steps as they stand here, elsewhere on the disk:
# its RUN lines name places by variables alone.

FROM node:22-slim AS page
WORKDIR /page
COPY agent/web/package.json agent/web/package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund
COPY agent/web ./
RUN npm run build

FROM python:3.11-slim AS builder
ENV VENV=/opt/coach BUILD=/tmp/build PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
# Wheels alone: nothing is compiled, so there is no compiler in either stage.
RUN python -m venv --without-pip "$VENV" \
 && python -m pip --python "$VENV/bin/python" install --require-hashes --only-binary :all: -r requirements.lock
RUN python -m venv "$BUILD" \
 && "$BUILD/bin/python" -m pip install --require-hashes --only-binary :all: -r requirements-build.lock
COPY pyproject.toml README.md ./
COPY agent agent
COPY --from=page /page/dist agent/web/dist
COPY persistence persistence
COPY prompts prompts
COPY migrations migrations
RUN "$BUILD/bin/python" -m pip wheel --no-index --no-deps --no-build-isolation --wheel-dir "$BUILD/wheels" . \
 && python -m pip --python "$VENV/bin/python" install --no-index --no-deps "$BUILD"/wheels/*.whl

FROM python:3.11-slim
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/voice-coach --create-home coach
COPY --from=builder /opt/coach /opt/coach
# numpy's BLAS threads spin in small processes; one worker a container, so its health port is fixed.
ENV PATH=/opt/coach/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OPENBLAS_NUM_THREADS=1 \
    COACH_JOURNAL_DIR=/var/lib/voice-coach/journal \
    COACH_WORKER_PORT=8081
USER coach
# Mount a volume here where the journal should outlive the container.
WORKDIR /var/lib/voice-coach
STOPSIGNAL SIGTERM
# The worker's. Run `coach api` (with COACH_API_HOST=0.0.0.0) and `coach jobs` with --no-healthcheck.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8081/', timeout=4)"]
CMD ["coach", "start"]
