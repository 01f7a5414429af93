# Two commands do all the set-up: `make demo` and `make test`. Each makes .venv if it is not there.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
UV := $(BIN)/uv pip
COMPILE := compile --quiet --universal --python-version 3.11 --no-header --no-emit-index-url --no-annotate --generate-hashes
# Bytecode is compiled at installation: otherwise the first command of each kind would do it, and take seconds more.
INSTALL := install --quiet --compile-bytecode --require-hashes
# Another environment may be active, and uv would install into that one.
export VIRTUAL_ENV := $(CURDIR)/.venv
export DO_NOT_TRACK := 1
# Nor may an environment forbid it later: each of the many processes of a test would compile the whole house anew.
unexport PYTHONDONTWRITEBYTECODE
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.PHONY: install install-test install-clients demo test test-slow check bench lock clean

install: .venv/.installed
install-test: .venv/.installed-test

demo: install
	$(BIN)/everfit demo $(ARGS)

test: install-test
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow" $(ARGS)

# Whole trainings and processes: killed, restarted, under load, in a browser.
test-slow: install-test
	$(BIN)/pytest -n 2 --dist loadfile -m slow $(ARGS)

# Clients of the service that do not install beside it; the tests that let them ask skip without them.
install-clients: $(BIN)/uv
	$(BIN)/uv venv --quiet --allow-existing --python $(PYTHON) .venv-clients
	$(UV) install --quiet --python .venv-clients/bin/python 'tritonclient[http]>=2.73,<3' 'mlflow-skinny>=3.17,<4' \
		'schemathesis>=4.32,<5' pandas scipy pyarrow

check: install-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports

# The tools of the field that some figures stand beside come with those of the tests.
bench: install-test
	$(BIN)/python -m benchmarks $(NAME)

# Resolves anew within pyproject.toml's bounds; look at the difference and run the tests before committing it.
lock: $(BIN)/uv
	$(UV) $(COMPILE) --upgrade --extra demo pyproject.toml -o requirements.lock
	$(UV) $(COMPILE) --upgrade --extra test pyproject.toml -o requirements-test.lock

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist

$(BIN)/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet 'uv>=0.9,<1'

.venv/.installed: $(BIN)/uv requirements.lock pyproject.toml
	$(UV) $(INSTALL) -r requirements.lock
	$(UV) install --quiet --no-deps --editable .
	touch $@

.venv/.installed-test: .venv/.installed requirements-test.lock
	$(UV) $(INSTALL) -r requirements-test.lock
	touch $@
