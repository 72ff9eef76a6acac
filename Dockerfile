# syntax=docker/dockerfile:1
# The same steps as `make run`, in three stages: the page, the server, and what runs them without
# the tools.
#
#   docker build -t samwire .                                   CPU
#   docker build -t samwire:cuda --build-arg DEVICE=cuda .      NVIDIA GPU; run with --gpus all
#   docker run -p 8000:8000 -e SAMWIRE_TOKENS=secret samwire
#
# PIP_ARGS and NPM_ARGS are passed to the installers: a mirror, or an index of CPU-only torch builds
# (without one, the default index's torch carries CUDA, whatever DEVICE says).

ARG PYTHON_IMAGE=python:3.12-slim
ARG NODE_IMAGE=node:22-slim

FROM ${NODE_IMAGE} AS page
ARG NPM_ARGS=""
WORKDIR /samwire/client_demo/web
COPY client_demo/web/package.json client_demo/web/package-lock.json ./
RUN npm ci --no-audit --no-fund ${NPM_ARGS}
COPY client_demo/web ./
RUN npm run build

FROM ${PYTHON_IMAGE} AS build
ARG PIP_ARGS=""
WORKDIR /samwire
RUN python -m venv /venv
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE ./
COPY server ./server
COPY client_demo/*.py ./client_demo/
COPY client_demo/load ./client_demo/load
COPY --from=page /samwire/server/static ./server/static
RUN /venv/bin/pip install --no-cache-dir ${PIP_ARGS} -c constraints.txt '.[server]'

FROM ${PYTHON_IMAGE}
ARG DEVICE=cpu
LABEL org.opencontainers.image.title="samwire" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --create-home --uid 10001 samwire
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SAMWIRE_HOST=0.0.0.0 \
    SAMWIRE_DEVICE=${DEVICE}
USER samwire
EXPOSE 8000
# Not urllib: it would ask the proxy that docker passes into containers.
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s CMD \
  ["python", "-c", "import http.client, os, sys; server = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('SAMWIRE_PORT', '8000')), timeout=2); server.request('GET', '/readyz'); sys.exit(server.getresponse().status != 200)"]
# One process owns one device; it drains on SIGTERM, which exec form delivers.
STOPSIGNAL SIGTERM
ENTRYPOINT ["samwire"]
CMD ["serve"]
