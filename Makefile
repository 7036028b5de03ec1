# From a fresh clone, with nothing but make and Python 3.13 or 3.11:
#
#   make demo          render a sample asset, and say where its contact sheet lies
#   make demo-compose  make three scenes of many objects, and say where their page lies
#   make test          run the whole test suite
#   make test-long     what takes minutes: hundreds of kills, hostile inputs, ten thousand frames
#   make test-matrix   run the core tests on every supported Blender, 4.2 to 5.2
#   make test-torch    run the tests that need PyTorch, where it can be installed
#   make test-window   try the extension in installed Blenders, with mouse and keys (Linux, as root)
#   make environments  make all that the goals above need, and test nothing yet
#   make fuzz          look for damaged files that do not end by name, ten minutes at a time
#   make lint          check style and types
#   make extension     build the extension for Blender into dist/
#   make clean         remove environments, the demo and caches
#
# Environments are made where they are needed and kept; on a bare Linux the system's packages that
# Blender is linked with are installed too, as root or with sudo where that asks nothing. PYTHON=/path/to/python chooses the
# Python of `demo` and `test`.

PYTHON ?=
PYTHONS = 3.13 3.11
MATRIX = 4.2 4.5 5.0 5.1 5.2
PYTHON_4.2 = 3.11
PYTHON_4.5 = 3.11
PYTHON_5.0 = 3.11
PYTHON_5.1 = 3.13
PYTHON_5.2 = 3.13

# Files of tests are shared out among processes, three for two cores: many tests wait for something.
# In the order in which they stand, as those that take longest stand first. A process that dies is not
# replaced: xdist deals out its finished files again, and then waits for ever for their tests to end.
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
TOGETHER = -n $(shell echo $$(($(CORES) < 4 ? ($(CORES) * 3 + 1) / 2 : 6))) --dist loadfile --no-loadscope-reorder --max-worker-restart 0
# The others need not be read on every Blender by every process.
CORE = $$(grep -rl --include='test_*.py' 'mark\.core' tests)

# A hundred thousand mutated messages took twenty minutes on a busy machine.
PATIENT = -o faulthandler_timeout=7200

INPUTS = pyproject.toml tools/environment.sh tools/system_libraries.py

.DEFAULT_GOAL = help
.PHONY: help demo demo-compose test test-long fuzz test-matrix test-torch test-window environments lint extension clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   make/  make/p' Makefile

.venv/ready: $(INPUTS)
	@PYTHON='$(PYTHON)' tools/environment.sh .venv '$(PYTHONS)' -e '.[bpy]'
	@.venv/bin/python tools/system_libraries.py
	@touch $@

.venv/ready-test: .venv/ready
	@tools/environment.sh .venv '$(PYTHONS)' -e '.[bpy]' -g test
	@touch $@

.venv-lint/ready: $(INPUTS)
	@tools/environment.sh .venv-lint '3.13 3.12 3.11' -e . -g lint
	@touch $@

.venv-torch/ready: $(INPUTS)
	@tools/environment.sh .venv-torch '3.11 3.13' -e '.[bpy,remote]' 'torch==2.13.*' pytest
	@.venv-torch/bin/python tools/system_libraries.py
	@touch $@

.venv-%/ready: $(INPUTS)
	@tools/environment.sh .venv-$* '$(PYTHON_$*)' -e '.[bpy]' 'bpy==$*.*' -g test
	@.venv-$*/bin/python tools/system_libraries.py
	@touch $@

demo: .venv/ready
	@.venv/bin/python examples/make_sample.py demo/rocket.glb
	@.venv/bin/objaverse-render render demo/rocket.glb --out demo --overwrite \
	    --cameras orbit --turns 1.2 --views 4 --elevation=-25:30 --radius 1 --fov 35 \
	    --lighting xl --seed 27 --resolution 240 --samples 64 \
	    --passes rgb,depth,normal,mask,albedo,roughness_metallic
	@.venv/bin/objaverse-render verify demo
	@.venv/bin/objaverse-render sheet demo/rocket.zip --size 240 >/dev/null
	@echo "Contact sheet: $(CURDIR)/demo/rocket.sheet.png"

.venv/ready-compose: .venv/ready
	@tools/environment.sh .venv '$(PYTHONS)' -e '.[bpy,compose]'
	@touch $@

demo-compose: .venv/ready-compose
	@.venv/bin/objaverse-render compose --scenes 3 --out demo/scenes --images-per-scene 2 --seed 4 \
	    --resolution 256 --samples 24 --overwrite
	@.venv/bin/objaverse-render verify demo/scenes
	@echo "Open $(CURDIR)/demo/scenes/gallery/index.html"

test: .venv/ready-test
	@.venv/bin/python -m pytest $(TOGETHER)

test-long: .venv/ready-test
	@.venv/bin/python -m pytest -m long $(PATIENT)
	@if $(MAKE) --no-print-directory .venv-torch/ready; then \
	    .venv-torch/bin/python -m pytest -m long $(PATIENT) tests/blender/test_stream_examples.py; \
	else \
	    echo "SKIPPED: PyTorch cannot be installed here."; \
	fi

# It goes on where it stopped; FUZZ="--seed 1 --leg inspector" as tests/fuzz/__main__.py has it.
fuzz: .venv/ready-test
	@PYTHONPATH=tests .venv/bin/python -m fuzz build/fuzz $(FUZZ)

# Each version in its own environment; a version whose Python is not here is skipped, out loud.
test-matrix:
	@passed= skipped= failed=; \
	for pair in $(foreach version,$(MATRIX),$(version):$(PYTHON_$(version))); do \
	    blender=$${pair%:*} python=$${pair#*:}; \
	    echo "=== Blender $$blender, Python $$python"; \
	    if ! tools/environment.sh --find $$python >/dev/null 2>&1; then \
	        echo "SKIPPED: there is no Python $$python here."; \
	        skipped="$$skipped $$blender"; \
	    elif $(MAKE) --no-print-directory .venv-$$blender/ready \
	        && .venv-$$blender/bin/python -m pytest -q -m core $(TOGETHER) $(CORE); then \
	        passed="$$passed $$blender"; \
	    else \
	        failed="$$failed $$blender"; \
	    fi; \
	done; \
	echo "=== Core tests: passed on$${passed:- none}$${skipped:+; SKIPPED on$$skipped}$${failed:+; FAILED on$$failed}"; \
	test -z "$$failed" -a -n "$$passed"

# In Debian folders of their own, which are made for it; where they cannot be, it says so.
test-window: .venv/ready-test
	@tools/test_window.sh .venv/bin/python

# What cannot be made is said again by the goal that needs it.
environments: .venv/ready-test
	-@$(MAKE) --no-print-directory .venv-lint/ready
	-@$(MAKE) --no-print-directory .venv-torch/ready
	-@for pair in $(foreach version,$(MATRIX),$(version):$(PYTHON_$(version))); do \
	    if tools/environment.sh --find $${pair#*:} >/dev/null 2>&1; then \
	        $(MAKE) --no-print-directory .venv-$${pair%:*}/ready; \
	    fi; \
	done
	-@tools/test_window.sh --folders .venv/bin/python

# PyTorch is large and not to be had for every Python; without it this is skipped, out loud.
test-torch:
	@if $(MAKE) --no-print-directory .venv-torch/ready; then \
	    .venv-torch/bin/python -m pytest tests/test_torch.py tests/test_export_chunks.py \
	        tests/test_export_files.py::test_mds_streams_every_view tests/blender/test_stream_torch.py; \
	else \
	    echo "SKIPPED: PyTorch cannot be installed here."; \
	fi

lint: .venv-lint/ready
	@.venv-lint/bin/ruff check .
	@.venv-lint/bin/mypy

extension: .venv/ready
	@.venv/bin/python tools/build_extension.py

clean:
	@for folder in build/debian/*/proc; do ! mountpoint -q $$folder || umount $$folder; done
	rm -rf .venv .venv-lint .venv-torch $(MATRIX:%=.venv-%) demo build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
