# Every target makes .venv and installs the pinned versions of constraints.txt if needed.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test check bench clean

demo: $(VENV)/.installed ## all five roles on the bundled model, offline; called again, it continues
	$(BIN)/understudy demo

test: $(VENV)/.installed-test ## every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(TESTS) # two workers, a thread each

check: $(VENV)/.installed-test ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python tools/sizes.py

bench: $(VENV)/.installed-bench ## the README's numbers, peers side by side
	$(BIN)/python benchmarks/sampler.py
	$(BIN)/python benchmarks/grpo_step.py
	$(BIN)/python benchmarks/grid_steps.py
	$(BIN)/python benchmarks/doorkey_steps.py
	$(BIN)/python benchmarks/mpe_steps.py
	$(BIN)/python benchmarks/teacher_ppo.py
	$(BIN)/python benchmarks/optimizer_evaluation.py
	$(BIN)/python benchmarks/cores.py --slow
	$(BIN)/python -m benchmarks.offline_updates

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -q -c constraints.txt -e .[lora,search]
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e .[test,check,plots]
	touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-test
	$(BIN)/python -m pip install -q -c constraints.txt -e .[bench]
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache
