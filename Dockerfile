# The image for server, workers and programs alike; docker-compose.yml shows how they go together.
#
#   docker build --tag mpserve .
#   docker build --tag mpserve:py3.12 --build-arg PYTHON_VERSION=3.12 .     workers on the Python of your programs
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/mpserve
# What the project depends on changes seldom: a layer of its own. Each file that is installed is one whose hash `scripts/lock`
# has written down.
COPY requirements.lock requirements-build.lock ./
RUN python -m venv --without-pip /opt/build \
 && pip --python /opt/mpserve/bin/python install --no-cache-dir --require-hashes -r requirements.lock \
 && pip --python /opt/build/bin/python install --no-cache-dir --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY server server
COPY client client
COPY shared shared
RUN pip --python /opt/build/bin/python wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
 && pip --python /opt/mpserve/bin/python install --no-cache-dir --no-deps /tmp/wheel/*.whl

FROM python:${PYTHON_VERSION}-slim
# The folder of the key exists beforehand, so that a new volume mounted there belongs to this user and to nobody else. Those of
# certificates and data are for whoever runs the container: each file in them belongs to its maker.
RUN useradd --uid 10001 --user-group --create-home --shell /usr/sbin/nologin mpserve \
 && install -d -o mpserve -g mpserve -m 0700 /home/mpserve/.config /home/mpserve/.config/mpserve \
 && install -d -m 1777 /tls /client-tls /data
COPY --from=build /opt/mpserve /opt/mpserve
COPY examples /opt/mpserve/examples
ENV PATH=/opt/mpserve/bin:$PATH PYTHONUNBUFFERED=1
USER mpserve
WORKDIR /home/mpserve
EXPOSE 7707
CMD ["mpserve", "start"]
