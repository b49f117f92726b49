# The operator's image: slim, without a compiler, and without a user that could write to it.
#
#   docker build -t registry.example.com/platform/inferencekey-operator:0.1.0 .
#
# The base is whatever Python 3.11 or newer is trusted where this is built; pin it by digest:
#   --build-arg PYTHON_IMAGE=registry.example.com/python@sha256:…
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements-run.lock requirements-build.lock ./
# Every file is named by its hash, and is a wheel: nothing is compiled.
RUN python -m venv --without-pip /opt/operator \
    && python -m pip --python /opt/operator/bin/python install --require-hashes --only-binary=:all: -r requirements-run.lock \
    && python -m venv --without-pip /opt/build \
    && python -m pip --python /opt/build/bin/python install --require-hashes --only-binary=:all: -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN /opt/build/bin/python -m hatchling build -t wheel -d /opt/wheel \
    && python -m pip --python /opt/operator/bin/python install --no-deps --no-index /opt/wheel/*.whl

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/operator /opt/operator
ENV PATH=/opt/operator/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["inferencekey-operator"]
CMD ["run"]
