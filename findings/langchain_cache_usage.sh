#!/usr/bin/env bash
# A kept answer of a LangChain chat model without usage comes back with a usage that lacks its required keys.
# Guess: an answer from the cache is the answer that was kept; usage_metadata is None, or has input and output tokens.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q langchain-core==1.8.3
"$folder/venv/bin/python" - <<'PYTHON'
from importlib import metadata

from langchain_core.caches import InMemoryCache
from langchain_core.language_models import FakeListChatModel

model = FakeListChatModel(responses=["yes"], cache=InMemoryCache())
first, second = model.invoke("Why?"), model.invoke("Why?")
print("langchain-core", metadata.version("langchain-core"))
print("guess: the usage of both is", first.usage_metadata)
print("seen: the first", first.usage_metadata, "and the second", second.usage_metadata)
missing = {"input_tokens", "output_tokens", "total_tokens"} - set(second.usage_metadata or {})
raise SystemExit(0 if first.usage_metadata is None and second.usage_metadata and missing else 1)
PYTHON
