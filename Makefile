# Everything from a clone: a virtual environment in .venv, the Rust core built into it.
#
#   make run              the sample tree, watched, one edit-relink-encode round trip
#   make run TREE=DIR     btfd watch DIR
#   make test lint        what CI runs
#   make faults           every fault and storm, the heavy ones too: some minutes
#   make test-kbuild [TREE=DIR] [SOURCE=linux.tar.xz]
#                         a real kernel built with pahole, then with the drop-in
#   make test-systemd     the units under a real systemd, in a virtual machine
#   make bench-storm      500,000 events: who loses what, and what an event costs
#   make soak TREE=COPY MINUTES=30    relinks, checkouts and new bases on a tree that is changed
#   make install-user     ~/.local/bin/btfd and btfd-pahole, and the user units; uninstall-user
#   make conformance CASES=DIR
#   make bench [TREE=DIR] pahole and btfd side by side, with plots in out/
#   make bench-instructions
#                         callgrind's counts against those that landed
#   make fuzz SECONDS=60  coverage-guided fuzzing, so long for each target (nightly, cargo-fuzz)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out/sample
CASES ?= tests/conformance/cases
CARGO_FLAGS := --manifest-path core/Cargo.toml --locked

# What the installed extension is made from.
SOURCES := $(shell find core/src -name '*.rs') core/Cargo.toml core/Cargo.lock pyproject.toml setup.py

.PHONY: all run test test-rust test-python test-kbuild faults test-systemd bench-storm soak lint format conformance
.PHONY: bench bench-instructions fuzz clean install-user uninstall-user
all: $(VENV)/.installed

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

$(VENV)/.installed: $(VENV)/.created $(SOURCES)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

ifdef TREE
run: $(VENV)/.installed
	$(BIN)/btfd watch '$(TREE)'
else
run: $(VENV)/.installed
	$(BIN)/python tests/sample/demo.py '$(OUT)'
endif

test: test-rust test-python

test-rust:
	cargo test $(CARGO_FLAGS) --quiet

test-python: $(VENV)/.installed
	$(BIN)/python -m pytest -q -m "not heavy and not systemd" $(PYTEST_FLAGS)

faults: $(VENV)/.installed
	$(BIN)/python -m pytest -q tests/faults $(PYTEST_FLAGS)

test-kbuild: $(VENV)/.installed
	$(BIN)/python -m tests.kbuild $(if $(TREE),'$(TREE)') $(if $(SOURCE),--source '$(SOURCE)')

test-systemd: $(VENV)/.installed
	$(BIN)/python -m pytest -q -m systemd tests/systemd $(PYTEST_FLAGS)

bench-storm: $(VENV)/.installed
	$(BIN)/python -m bench.storm $(STORM)

soak: $(VENV)/.installed
	$(BIN)/python -m bench.soak '$(TREE)' --minutes $(or $(MINUTES),30)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cargo fmt --manifest-path core/Cargo.toml --check
	cargo clippy $(CARGO_FLAGS) --all-targets --features python -- -D warnings

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	cargo fmt --manifest-path core/Cargo.toml

conformance: $(VENV)/.installed
	$(BIN)/python -m tests.conformance '$(CASES)'

bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	mkdir -p out
	$(BIN)/python -m bench $(if $(TREE),'$(TREE)') --plot out/growth

bench-instructions: $(VENV)/.installed
	$(BIN)/python -m bench.instructions $(if $(TREE),'$(TREE)') $(BENCH_FLAGS)

FUZZ := elf dwarf btf encode graph
SECONDS ?= 60
fuzz:
	BTFD_SEEDS='$(CURDIR)/out/fuzz/seeds' cargo test $(CARGO_FLAGS) --quiet --test hostile seeds -- --ignored
	mkdir -p $(FUZZ:%=out/fuzz/corpus/%) out/fuzz/found
	for target in $(FUZZ); do \
	  cargo +nightly fuzz run --fuzz-dir core/fuzz --sanitizer none $$target \
	    out/fuzz/corpus/$$target out/fuzz/seeds/$$target -- -max_total_time=$(SECONDS) -max_len=40000 \
	    -timeout=5 -rss_limit_mb=2048 -malloc_limit_mb=1024 -artifact_prefix=out/fuzz/found/ || exit 1; \
	done

# The command, the drop-in and the user units, for the user who calls it.
DATA := $(or $(XDG_DATA_HOME),$(HOME)/.local/share)/btfd
CONFIG := $(or $(XDG_CONFIG_HOME),$(HOME)/.config)
UNITS := $(CONFIG)/systemd/user
USER_BIN := $(HOME)/.local/bin
# What a service of this user keeps: its index, and the trees that were added.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/btfd
STATE := $(or $(XDG_STATE_HOME),$(HOME)/.local/state)/btfd

install-user:
	$(PYTHON) -m venv '$(DATA)/venv'
	'$(DATA)/venv/bin/python' -m pip install --quiet --upgrade .
	mkdir -p '$(USER_BIN)' '$(UNITS)'
	ln -sfn '$(DATA)/venv/bin/btfd' '$(DATA)/venv/bin/btfd-pahole' '$(USER_BIN)'
	install -m644 systemd/btfd.service systemd/btfd.socket '$(UNITS)'
	[ -e '$(CONFIG)/btfd/config.yaml' ] || \
		install -Dm644 config.example.yaml '$(CONFIG)/btfd/config.yaml'
	-systemctl --user daemon-reload
	@echo 'systemctl --user enable --now btfd.socket btfd.service    # starts it'

# What the user wrote stays: a configuration that is not the example any more, drop-ins of the units.
uninstall-user:
	-systemctl --user disable --now btfd.socket btfd.service
	rm -f '$(UNITS)/btfd.service' '$(UNITS)/btfd.socket'
	rm -f '$(UNITS)'/*.wants/btfd.service '$(UNITS)'/*.wants/btfd.socket
	rm -f '$(USER_BIN)/btfd' '$(USER_BIN)/btfd-pahole'
	rm -rf '$(DATA)' '$(CACHE)' '$(STATE)'
	! cmp -s config.example.yaml '$(CONFIG)/btfd/config.yaml' || rm '$(CONFIG)/btfd/config.yaml'
	rmdir --ignore-fail-on-non-empty '$(UNITS)'/*.wants '$(UNITS)' '$(CONFIG)/systemd' \
		'$(CONFIG)/btfd' '$(USER_BIN)' 2> /dev/null || :
	@for left in '$(CONFIG)/btfd/config.yaml' '$(UNITS)/btfd.service.d' '$(UNITS)/btfd.socket.d'; do \
		[ ! -e "$$left" ] || echo "left, you wrote it: $$left"; done
	-systemctl --user daemon-reload

clean:
	rm -rf $(VENV) out build dist *.egg-info core/target btfd/_core*.so
