# make demo    install into .venv, then the industrial kit's main job on real solar cells
# make test    install into .venv, then lint and types while the tests run
# make lint    ruff and mypy alone
# make dist    wheels of all distributions, in dist
# make docs    the documentation as a site, in build/site
# make bench   the long measurements behind the figures in BENCHMARKS.md

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := $(wildcard domain_kits/*/moekit_* plugins/*/moekit_*)
MEMBERS := -e "core[weights,export,streams]" -e "domain_kits/industrial[elpv]" -e "domain_kits/medical[demo]" \
	-e plugins/detection -e plugins/entropy_gate -e plugins/finegrained -e plugins/scenes -e plugins/tensorboard -e plugins/texture
TOOLS := deid-data hatchling httpx2 hypothesis mypy pycocotools pydicom-data pytest pytest-xdist ruff schemathesis scikit-learn
DEFINITIONS := Makefile constraints.txt $(wildcard *pyproject.toml */pyproject.toml */*/pyproject.toml)

# Byte code of what is imported is kept, also if the shell forbids it (images of containers do):
# without it every process that a test starts compiles all of torch, and takes twice as long.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test tests lint dist docs bench clean

demo: $(VENV)/.ready
	$(BIN)/moekit demo industrial

test: $(VENV)/.ready
	$(MAKE) -j 2 lint tests

# With the Python in BIN, which may be another one than that of the virtual environment.
tests:
	$(BIN)/python -m pytest -m "not bench" -n auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy core/moekit $(PACKAGES)

dist: $(VENV)/.ready
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist \
		./core $(wildcard ./domain_kits/*/) $(wildcard ./plugins/*/)

docs: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt "mkdocs-material" "mkdocstrings[python]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python docs/build.py
	@echo "the site is in build/site: $(BIN)/python -m http.server --directory build/site"

bench: $(VENV)/.ready
	$(BIN)/python -m pytest -m bench -s tests/benchmarks

$(VENV)/.ready: $(DEFINITIONS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt $(MEMBERS) $(TOOLS)
	touch $@

clean:
	rm -rf $(VENV) runs build dist
