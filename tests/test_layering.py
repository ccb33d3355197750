"""Who imports whom: models/ is a leaf, export/ and runtime/ never meet, and inside each imports go
one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gptneo_onnx.models

ROOT = Path(__file__).parent.parent
STANDARD = set(sys.stdlib_module_names)
# What the modules of a folder may import at the top, besides the standard library ...
PACKAGES = {
    "models": set(),
    "export": {"numpy", "onnx", "ml_dtypes", "safetensors", "tokenizers", "tqdm"},
    "runtime": {"numpy", "onnxruntime", "tokenizers"},
}
# ... and inside functions: heavy or optional packages.
PACKAGES_INSIDE = {
    "models": set(),
    "export": {"onnxruntime", "huggingface_hub", "optimum", "peft", "torch", "transformers"},
    "runtime": {
        "ftfy",
        "huggingface_hub",
        "jinja2",
        "llguidance",
        "lm_eval",
        "opentelemetry",
        "pyarrow",
        "shtab",
        "tqdm",
    },
}
# What the server may import at the top: the extra `serve`.
SERVER_PACKAGES = {
    "fastapi",
    "h11",
    "prometheus_client",
    "pydantic",
    "pydantic_core",
    "starlette",
    "uvicorn",
}
# lm-evaluation-harness imports this one itself.
HARNESS = "runtime.evaluation.harness"
# The only modules that reach from the runtime into the exporter, inside a function.
DOORS = {
    "runtime.on_demand_export", "runtime.cli.check", "runtime.cli.export",
    "runtime.cli.set_tokenizer", "runtime.namespace",
}  # fmt: skip
# The package above all folders, which has both sides' names: for type checkers at the top too.
NAMESPACE = "runtime.namespace"

# From the leaf up: a module imports its own layer and those before it.
LAYERS = {
    "models": [
        "models.errors",
        (
            "models.activations", "models.json_file", "models.named_file", "models.units",
            "models.file_lock", "models.interruption", "models.tokenizer_check",
        ),
        "models.labels",
        "models.config_names", "models.config", "models.tasks", "models.graph",
        "models.fused_operators", "models.portable_graph", "models.genai_graph", "models.manifest",
        "models.staging",
        "models.generation_settings", "models.embedded", "models.hub_cache", "models.chat_template",
        ("models.added_tokens", "models.post_processor"), "models.special_tokens",
        ("models.gpt2_vocabulary", "models.tokenizer_config"), "models.tokenizer_files",
        "models",
    ],
    "export": [
        "export.replace_directory", "export.checkpoint", "export.weights", "export.graphs",
        "export.check", "export.calibration", "export.graph_files",
        "export.tokenizer_files", "export.choices",
        ("export.arguments", "export.transformers_js", "export.task"),
        ("export.companions", "export.format_files"),
        "export.output_directory", ("export.fingerprint", "export.memory", "export.sources"),
        "export.exporter",
        ("export.dry_run", "export.existing_export", "export.replace_tokenizer"), "export",
    ],
    "runtime": [
        (
            "runtime.files", "runtime.onnx_runtime", "runtime.arrays",
            "runtime.text_settings",
        ),
        "runtime.model_files", "runtime.companion_files",
        "runtime.model_output", "runtime.export_cache",
        "runtime.text_limits", ("runtime.batch_encoding", "runtime.clean_up"), "runtime.vocabulary",
        ("runtime.text_encoder", "runtime.hub", "runtime.tokenizer_sources"),
        "runtime.template_limits", "runtime.template_environment",
        "runtime.chat_template", "runtime.chat_tokenizer",
        ("runtime.parquet_pages", "runtime.table_text"), "runtime.tables",
        ("runtime.tokenizer", "runtime.documents"),
        "runtime.checkpoint_source", "runtime.engine",
        "runtime.on_demand_export", "runtime.generation", "runtime.scheduling",
        "runtime.pretrained_model", ("runtime.load_arguments", "runtime.generation_mixin"),
        ("runtime.modeling", "runtime.label_model", "runtime.heads", "runtime.base_model"),
        "runtime.evaluation", "runtime.pipelines",
        "runtime.embedded", "runtime", "runtime.server", "runtime.cli", "runtime.namespace",
    ],
}  # fmt: skip


def modules() -> dict[str, Path]:
    """Every module of the three folders, named from the repository's root."""
    found = {}
    for folder in LAYERS:
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: Path, at_the_top: bool) -> set[str]:
    """Modules that a file imports: ours from the root, as `runtime.engine.cache`, others whole.

    What it imports for type checkers alone counts as imported at the top.
    """
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
            package = node.module or ""
            names = {f"{package}.{alias.name}" for alias in node.names}
            ours = {name for name in names if name.removeprefix("gptneo_onnx.") in MODULES}
            found |= ours | ({package} if ours < names else set())
    return {name.removeprefix("gptneo_onnx.") for name in found}


def is_ours(name: str) -> bool:
    return name.partition(".")[0] in LAYERS


def imports_of(name: str) -> set[str]:
    """Modules of ours that one imports, wherever it does."""
    path = MODULES[name]
    every = imports(path, at_the_top=True) | imports(path, at_the_top=False)
    return {each for each in every if is_ours(each)} - {name}


def layer(name: str) -> int:
    """The place of a module in LAYERS; the longest name that it begins with counts."""
    layers = LAYERS[name.partition(".")[0]]
    places = {
        each: place
        for place, names in enumerate(layers)
        for each in ([names] if isinstance(names, str) else names)
    }
    return places[max((each for each in places if f"{name}.".startswith(f"{each}.")), key=len)]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_layers_before_its_own(name):
    folder = name.partition(".")[0]
    for other in imports_of(name):
        if other.partition(".")[0] == folder:
            assert layer(other) <= layer(name), f"{name} imports {other}"
        else:
            assert other.startswith("models") or name in DOORS, f"{name} imports {other}"


def test_no_modules_import_each_other_in_a_circle():
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a circle: {' -> '.join([*path[path.index(name) :], name])}"
        if name not in finished:
            for other in sorted(imports_of(name)):
                visit(other, (*path, name))
            finished.add(name)

    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_the_packages_of_its_folder(name):
    folder, path = name.partition(".")[0], MODULES[name]
    at_the_top = {each for each in imports(path, at_the_top=True) if not is_ours(each)}
    inside = {each for each in imports(path, at_the_top=False) if not is_ours(each)}
    allowed = PACKAGES[folder] | STANDARD | ({"lm_eval", "tqdm"} if name == HARNESS else set())
    if name.startswith("runtime.server"):
        allowed |= SERVER_PACKAGES
    assert {each.partition(".")[0] for each in at_the_top} <= allowed
    assert {each.partition(".")[0] for each in inside} <= allowed | PACKAGES_INSIDE[folder]


def test_the_runtime_reaches_the_exporter_inside_functions_only():
    for name, path in MODULES.items():
        if name.startswith("runtime") and name != NAMESPACE:
            at_the_top = imports(path, at_the_top=True)
            assert not any(each.startswith("export") for each in at_the_top), name


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
    script = (
        "import sys; sys.modules['onnxruntime'] = None; import gptneo_onnx.runtime;"
        "from gptneo_onnx.runtime import GPTNeoForCausalLM"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "MissingDependencyError: running a model needs ONNX Runtime: pip install" in done.stderr
    assert "'gptneo-onnx[cpu]', or 'gptneo-onnx[gpu]'" in done.stderr


def test_the_command_line_without_onnx_runtime_shows_one_line():
    script = (
        "import sys; sys.modules['onnxruntime'] = None; sys.argv = ['gptneo-onnx', 'info', 'x'];"
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


@pytest.mark.slow
def test_importing_the_runtime_takes_less_than_half_a_second():
    """Least of five, of processor time: other work on the machine does not count."""
    script = (
        "import time; start = time.process_time(); from gptneo_onnx.runtime import *;"
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


def test_the_package_itself_imports_nothing_before_a_name_is_used():
    script = (
        "import sys, gptneo_onnx;"
        "assert gptneo_onnx.__version__;"
        "assert not {'numpy', 'onnxruntime', 'onnx', 'tokenizers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
