"""Who imports whom: models/ is a leaf, export/ and runtime/ never meet."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gptneo_onnx.models

ROOT = Path(__file__).parent.parent
STANDARD = set(sys.stdlib_module_names)
ALLOWED = {
    "models": {"gptneo_onnx.models"},
    "export": {
        "gptneo_onnx.models", "gptneo_onnx.export",
        "numpy", "onnx", "ml_dtypes", "safetensors", "tokenizers", "tqdm",
    },
    "runtime": {"gptneo_onnx.models", "gptneo_onnx.runtime", "numpy", "onnxruntime", "tokenizers"},
}  # fmt: skip
# Heavy or optional packages, and the one door between the folders: inside functions only.
ALLOWED_INSIDE = {
    "models": set(),
    "export": {"onnxruntime", "huggingface_hub", "optimum", "torch", "transformers"},
    "runtime": {
        "gptneo_onnx.export",
        "datasets",
        "ftfy",
        "llguidance",
        "lm_eval",
        "pyarrow",
        "tqdm",
    },
}
DOORS = {
    "cli.py", "comparison.py", "documents.py", "embed.py", "embedded.py", "grammar.py",
    "lm_eval.py", "perplexity.py",
}  # fmt: skip
# Is imported by the harness's own users alone.
HARNESS = {"harness.py": {"lm_eval", "tqdm"}}


def imports(path: Path, at_the_top: bool) -> set[str]:
    """Names of imported modules: `gptneo_onnx.folder` for ours, the top package for others."""
    tree = ast.parse(path.read_text())
    inside = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for child in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if (id(node) in inside) == at_the_top:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    depth = {name: 2 if name.startswith("gptneo_onnx") else 1 for name in found}
    return {".".join(name.split(".")[: depth[name]]) for name in found} - STANDARD


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_follow_the_layers(folder):
    for path in (ROOT / folder).rglob("*.py"):
        allowed = ALLOWED[folder] | HARNESS.get(path.name, set())
        assert imports(path, at_the_top=True) <= allowed, path
        inside = imports(path, at_the_top=False) - ALLOWED[folder]
        if folder == "runtime" and path.name not in DOORS:
            assert not inside, path
        assert inside <= ALLOWED_INSIDE[folder], path


BLOCKED = ("torch", "transformers", "onnx", "optimum", "safetensors", "ml_dtypes", "tqdm")

GENERATE_WITHOUT = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r} or name.startswith("gptneo_onnx.export"):
            raise AssertionError(f"the runtime imports {{name}}")

sys.meta_path.insert(0, Blocked())
from gptneo_onnx.runtime import pipeline
generator = pipeline("text-generation", model=sys.argv[1])
print(generator("She was", max_new_tokens=5, seed=1)[0]["generated_text"])
from gptneo_onnx.runtime.cli import main as cli
cli.main(["generate", sys.argv[1], "She was", "--max-new-tokens", "5"])
cli.main(["info", sys.argv[1]])
cli.main(["doctor"])
"""


def test_the_runtime_generates_where_no_framework_can_be_imported(embedded_export):
    done = subprocess.run(
        [sys.executable, "-c", GENERATE_WITHOUT, str(embedded_export)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("She was")


def test_models_import_no_package_at_all():
    script = "import sys, gptneo_onnx.models; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_runtime_without_onnx_runtime_says_which_extra_to_install():
    script = "import sys; sys.modules['onnxruntime'] = None; import gptneo_onnx.runtime"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "MissingDependencyError: running a model needs ONNX Runtime: pip install" in done.stderr
    assert "'gptneo-onnx[cpu]', or 'gptneo-onnx[gpu]'" in done.stderr


def test_the_command_line_without_onnx_runtime_shows_one_line():
    script = (
        "import sys; sys.modules['onnxruntime'] = None; sys.argv = ['/bin/gptneo-onnx', 'doctor'];"
        "from gptneo_onnx.runtime.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("gptneo-onnx: error: running a model needs ONNX Runtime")
    assert done.stderr.count("\n") == 1


def test_exporting_without_its_extra_says_which_to_install():
    script = "import sys; sys.modules['onnx'] = None; import gptneo_onnx.export"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "exporting needs onnx, which is not installed: pip install" in done.stderr


def test_importing_the_runtime_takes_less_than_half_a_second():
    """Least of five, of processor time: other work on the machine does not count."""
    script = (
        "import time; start = time.process_time(); import gptneo_onnx.runtime;"
        "print(time.process_time() - start)"
    )
    seconds = [
        float(subprocess.check_output([sys.executable, "-c", script], text=True)) for _ in range(5)
    ]
    assert min(seconds) < 0.5


def test_errors_are_one_tree():
    errors = [
        e
        for e in vars(gptneo_onnx.models).values()
        if isinstance(e, type) and issubclass(e, Exception)
    ]
    assert len(errors) == 6
    assert all(issubclass(error, gptneo_onnx.models.GPTNeoOnnxError) for error in errors)
