"""hafs serve over HTTP, beside another checkout of hafs and LiteLLM's proxy, over the same instant host.

    python benchmarks/serve_speed.py                                   this checkout, and LiteLLM's proxy
    python benchmarks/serve_speed.py --beside ../hafs-before           also another checkout

Each server is a process of its own, with one worker; the host (`tests/providers/fault_server.py`, path `short`) is
another. Rounds are interleaved. `cpu` is the processor time of the server per request, which other work on the machine
changes least. LiteLLM's proxy runs in `.venv-litellm-proxy`, made here when it is missing.
"""

import argparse
import asyncio
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiohttp
import psutil

ROOT = Path(__file__).resolve().parents[1]
KEY = f"sk-{secrets.token_hex(24)}"
BODY = {"model": "hafs-council", "messages": [{"role": "user", "content": "Why?"}]}
COUNCIL = """# @package providers.near
# The instant host.
defaults:
  - openai_compatible@_here_
  - _self_
name: near
host:
  base_url: {url}
"""
PROXY = """model_list:
  - model_name: hafs-council
    litellm_params: {{model: openai/m, api_base: "{url}", api_key: none}}
"""


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextmanager
def process(command, **words):
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **words) as started:
        try:
            yield started
        finally:
            started.terminate()


def hafs_server(stack, root, url):
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    (folder / "conf/provider").mkdir(parents=True)
    (folder / "conf/provider/near.yaml").write_text(COUNCIL.format(url=url))
    env = {**os.environ, "PYTHONPATH": str(root), "HAFS_STATE": str(folder / "state")}
    words = ["provider=near", "expert=general", "router=keyword", "receipts=null", "max_requests=2000", "port=0"]
    command = [sys.executable, "-m", "hafs", "serve", *words]
    started = stack.enter_context(process(command, cwd=folder, env=env))
    return started.pid, started.stdout.readline().split()[2]


def litellm_proxy(stack, url):
    venv = Path(os.environ.get("HAFS_BENCH_ENVIRONMENTS", ROOT)) / ".venv-litellm-proxy"
    if not venv.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        needs = "litellm[proxy]!=1.82.7,!=1.82.8"  # those two were malware
        subprocess.run([venv / "bin/pip", "install", "-q", needs], check=True)
    folder, port = Path(stack.enter_context(tempfile.TemporaryDirectory())), free_port()
    (folder / "proxy.yaml").write_text(PROXY.format(url=url))
    command = [venv / "bin/litellm", "--config", "proxy.yaml", "--port", str(port), "--host", "127.0.0.1"]
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    env |= {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # without a key it does not start
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = subprocess.Popen(command, cwd=folder, env=env, **quiet)
    stack.callback(started.terminate)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return started.pid, f"http://127.0.0.1:{port}/v1"
        time.sleep(0.5)
    raise SystemExit("LiteLLM's proxy did not start")


async def asked(url, concurrent, count):
    """Seconds of each request, and of all together."""
    took = []
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers={"authorization": f"Bearer {KEY}"}) as session:

        async def ask():
            for _ in range(count // concurrent):
                began = time.perf_counter()
                async with session.post(f"{url}/chat/completions", json=BODY) as response:
                    assert response.status == 200, await response.text()
                    await response.read()
                took.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(concurrent)))
    return took, time.perf_counter() - began


def cpu_of(pid):
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def main():
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--beside", help="another checkout of hafs")
    given.add_argument("--rounds", type=int, default=3)
    given.add_argument("--requests", type=int, default=1280)
    given.add_argument("--without-litellm", action="store_true")
    words = given.parse_args()
    with ExitStack() as stack:
        host = stack.enter_context(process([sys.executable, str(ROOT / "tests/providers/fault_server.py")]))
        url = f"http://127.0.0.1:{int(host.stdout.readline())}/short/v1"
        servers = {"hafs serve": hafs_server(stack, ROOT, url)}
        if words.beside:
            servers["hafs serve before"] = hafs_server(stack, Path(words.beside).resolve(), url)
        if not words.without_litellm:
            servers["LiteLLM's proxy"] = litellm_proxy(stack, url)
        found = {name: [] for name in servers}
        for _, address in servers.values():
            asyncio.run(asked(address, 8, 160))
        for _ in range(words.rounds):
            for name, (pid, address) in servers.items():
                before = cpu_of(pid)
                took, seconds = asyncio.run(asked(address, 64, words.requests))
                p99 = sorted(took)[int(len(took) * 0.99)]
                cpu = (cpu_of(pid) - before) / len(took)
                found[name].append((len(took) / seconds, statistics.median(took), p99, cpu))
    print("| | requests/s | median of 64 | p99 of 64 | cpu per request |\n| --- | ---: | ---: | ---: | ---: |")
    for name, rounds in found.items():
        rate, median, p99, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"| {name} | {rate:.0f} | {median * 1e3:.0f} ms | {p99 * 1e3:.0f} ms | {cpu * 1e3:.2f} ms |")


if __name__ == "__main__":
    main()
