"""Fuzz one test by atheris, which looks at the branches that a case takes.

``python tests/fuzz test_records -atheris_runs=100000``, by the name of a test; what
follows are options of libFuzzer, of which ``-max_total_time=600`` is another.
"""

import sys
import warnings
from importlib import import_module
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent))
law = import_module("law")
MODULES = ["test_arrays", "test_corpus_files", "test_tokenizer_files", "test_wfdb"]


def find(name):
    """What a test does with a string of bytes, instrumented along with sktok."""
    with atheris.instrument_imports(include=["sktok", "wfdb"]):
        modules = list(map(import_module, MODULES))
    for module in modules:
        if hasattr(module, name):
            return getattr(module, name).given.hypothesis.fuzz_one_input
    raise SystemExit(f"There is no test {name} in {', '.join(MODULES)}.")


if __name__ == "__main__":
    _, test, *options = sys.argv
    fuzz_one_input = find(test)
    warnings.simplefilter("error")
    for harmless in ("X (has|does not have)", "Number of distinct", "The inplace"):
        warnings.filterwarnings("ignore", harmless)
    warnings.filterwarnings("default", category=RuntimeWarning)
    # What fails is kept there. Short inputs are no cases: hypothesis needs more bytes.
    options = [f"-artifact_prefix={law.FOLDER}/", "-len_control=0", *options]
    atheris.Setup([sys.argv[0], *options], fuzz_one_input)
    atheris.Fuzz()
