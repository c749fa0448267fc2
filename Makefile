# Two commands do everything: `make demo` and `make test`. Each sets up what it needs and says what it is doing.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SYSTEM := libportaudio2 libgl1 libegl1 libgles2 libglib2.0-0 cmake g++ make
SYSTEM_TEST := pulseaudio pulseaudio-utils libasound2-plugins strace chromium iproute2
# The longest first: it compiles for minutes on one core.
COMPUTING := test/test_build.py test/bags test/cli/test_bench_metrics.py test/cli/test_commands.py test/cli/test_generator_costs.py \
  test/clock test/corpus test/evaluation test/generators test/media test/messages test/nn test/perception \
  test/regression test/replay test/systems test/training test/test_assets.py \
  test/test_config.py test/test_contributing.py test/test_face.py test/test_house.py test/test_io.py test/test_pages.py test/test_redaction.py
SOURCES := pyproject.toml requirements.txt requirements-ros.txt setup.py CMakeLists.txt package.xml constraints.txt \
  $(shell find msg react_ros scripts launch config models cmake -type f -not -name '*.pyc' 2>/dev/null)

.PHONY: demo test lint setup assets bench clean help

help:
	@echo "make demo    run the whole robot on a real face and voice; leaves demo/"
	@echo "make test    check types and style, run every test"
	@echo "make test ROOM=corpus    only the tests of one room (test/corpus)"
	@echo "make bench   measure this machine"
	@echo "make clean   remove what make has built"

demo: setup assets
	@echo "== the robot runs on a filmed human and a recorded voice"
	$(BIN)/react-ros demo --out demo

ifdef ROOM
test: setup
	@echo "== tests of one room: $(ROOM) (make test runs all)"
	$(BIN)/python -m pytest $(wildcard test/$(ROOM) test/test_$(ROOM).py)
else
test: setup assets
	@tools/system-packages $(SYSTEM_TEST)
	@$(MAKE) --no-print-directory lint
	@echo "== tests that only compute, on all cores (progress below)"
	$(BIN)/python -m pytest $(COMPUTING) -n auto --dist loadgroup --durations=12
	@echo "== tests with real ROS 2 nodes, real footage, sound and a browser, one at a time (progress below)"
	$(BIN)/python -m pytest $(COMPUTING:%=--ignore=%) --durations=12
endif

lint: setup
	@echo "== style and types"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python   # its own guess is the first python on the path

bench: setup assets
	$(BIN)/react-ros bench perception
	$(BIN)/react-ros bench live
	$(BIN)/react-ros bench generators
	$(BIN)/react-ros bench metrics

setup: $(INSTALLED)

$(INSTALLED): $(SOURCES)
	@tools/system-packages $(SYSTEM)
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 13); sys.exit(None if ok else "react_ros needs Python 3.11 or 3.12: make PYTHON=/path/to/python3.12")'
	@test -x $(BIN)/python || { echo "== making a virtual environment in $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "== installing react_ros and what it needs (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --upgrade "pip==26.3"
	$(BIN)/python -m pip install --progress-bar on --constraint constraints.txt ".[test]"
	@touch $@

assets: setup
	@echo "== fetching the face model and the demo's footage, once"
	@$(BIN)/react-ros assets fetch

clean:
	rm -rf build demo $(VENV)
