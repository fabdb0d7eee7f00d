# The HTTP service in a container:
#
#     docker build -t mien .
#     docker run --rm -p 8000:8000 -e MIEN_TOKEN=secret --read-only --tmpfs /tmp mien

FROM python:3.13-slim AS build
COPY . /source
RUN python3 -m venv /opt/mien && /opt/mien/bin/pip install --no-cache-dir '/source[serve]'

FROM python:3.13-slim
COPY --from=build /opt/mien /opt/mien
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin mien
USER 10001
ENV PATH=/opt/mien/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["mien"]
CMD ["serve", "--host", "0.0.0.0"]
