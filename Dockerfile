# Backend and worker. One image for CPU and GPU: the registry's torch runs on both.
FROM python:3.11-slim AS packages
RUN pip install --no-cache-dir uv==0.13.9
ENV UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /src
COPY requirements.txt ./
RUN uv venv /opt/mgral && uv pip sync --python /opt/mgral/bin/python requirements.txt

FROM packages AS project
COPY pyproject.toml README.md LICENSE ./
COPY model model
COPY agent agent
COPY backend backend
RUN uv build --wheel --no-build-isolation --python /opt/mgral/bin/python --out-dir /dist

FROM python:3.11-slim
# A volume that is mounted on /data takes its owner over. It is the home directory too, so that all else may be read-only.
# Without BASIC_AUTH_USER and BASIC_AUTH_PASS, or LISTEN=0.0.0.0, `mgral serve` answers within its container alone.
RUN useradd --no-create-home --home-dir /data --uid 1000 mgral && install --directory --owner=mgral --group=mgral /data
# Two layers: the packages are gigabytes and change seldom, the project is megabytes and changes with each release.
COPY --from=packages /opt/mgral /opt/mgral
RUN --mount=from=project,source=/usr/local/bin/uv,target=/usr/local/bin/uv --mount=from=project,source=/dist,target=/dist \
    uv pip install --no-cache --no-deps --no-index --compile-bytecode --python /opt/mgral/bin/python /dist/*.whl
ENV PATH=/opt/mgral/bin:$PATH PYTHONUNBUFFERED=1 PORT=9090 \
    MODEL_DIR=/data/models MODEL_ROOT=/data/weights CACHE_DIR=/data/cache NUMBA_CACHE_DIR=/data/cache/numba
USER 1000
WORKDIR /data
VOLUME /data
EXPOSE 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen('http://localhost:' + os.environ['PORT'] + '/health', timeout=4)"]
ENTRYPOINT ["mgral"]
CMD ["serve"]
