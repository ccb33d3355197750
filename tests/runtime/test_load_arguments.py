"""Arguments of from_pretrained() and pipeline() that transformers and Optimum have."""

import shutil

import numpy as np
import pytest

from gptneo_onnx.models import DeviceError, InputError
from gptneo_onnx.runtime import GPTNeoForCausalLM, GPTNeoModel, Tokenizer, pipeline
from gptneo_onnx.runtime.load_arguments import LOAD_NAMES, LoadArguments, Loading

HARMLESS = {
    "attn_implementation": "sdpa",
    "cache_dir": "somewhere",
    "config": None,
    "device_map": "auto",
    "dtype": "auto",
    "export": False,
    "force_download": False,
    "local_files_only": True,
    "low_cpu_mem_usage": True,
    "provider": "CPUExecutionProvider",
    "provider_options": [{}],
    "providers": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "revision": "main",
    "session_options": None,
    "token": "hf_x",
    "torch_dtype": np.float32,
    "trust_remote_code": True,
    "use_cache": True,
    "use_io_binding": False,
    "use_merged": None,
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_asks_for_nothing_else_loads_the_model(embedded_export, name):
    model = GPTNeoForCausalLM.from_pretrained(embedded_export, **{name: HARMLESS[name]})
    assert model.device.type == "cpu"


def test_every_kind_of_model_and_pipelines_take_them(embedded_export):
    assert GPTNeoModel.from_pretrained(embedded_export, **HARMLESS)
    arguments = {name: value for name, value in HARMLESS.items() if name != "provider_options"}
    further = {"framework": "pt", "use_fast": True, "num_workers": 2, "batch_size": 2}
    generator = pipeline("text-generation", embedded_export, **arguments, **further)
    assert generator("She", max_new_tokens=1)


REFUSED = [
    ({"providr": "x"}, r"from_pretrained\(\) has no argument 'providr'; it has provider"),
    ({"precison": "x"}, "no argument 'precison'; it has precision"),
    ({"xyz": 1}, "no argument 'xyz'; it has batch_invariant, device, file_name"),
    ({"config": {}}, "takes no config: the directory's config.json says"),
    ({"session_options": 1}, "takes no session_options: num_threads=, spin="),
    ({"quantization_config": 1}, "takes no quantization_config: .* --precision int8 or int4"),
    ({"load_in_8bit": True}, "takes no load_in_8bit: "),
    ({"generation_config": 1}, "set the model's generation_config afterwards"),
    ({"dtype": np.float16}, "dtype is float16, and this graph calculates in float32"),
    ({"torch_dtype": "torch.bfloat16"}, "torch_dtype is bfloat16, .* --precision bf16"),
    ({"dtype": "int3"}, "dtype is 'int3'; float32, float16, bfloat16 is allowed"),
    ({"provider": "TensorrtExecutionProvider"}, "CPUExecutionProvider and CUDAExecutionProvider"),
    ({"provider": "CUDAExecutionProvider", "device": "cpu"}, "device is cpu and provider is cuda"),
    ({"device_map": {"wte": 0, "h": "cpu"}}, "a model runs whole on one device; pass device="),
    ({"provider_options": [{}, {"a": 1}]}, "provider_options has several"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=str)
def test_others_say_what_to_do(embedded_export, arguments, message):
    with pytest.raises(InputError, match=message):
        GPTNeoForCausalLM.from_pretrained(embedded_export, **arguments)


@pytest.mark.parametrize(
    ("arguments", "device"),
    [
        ({"device_map": "cuda"}, "cuda"),
        ({"device_map": {"": 1}}, "cuda:1"),
        ({"device_map": "sequential"}, "auto"),
        ({"providers": ["CUDAExecutionProvider"]}, "cuda"),
        ({"providers": ["CPUExecutionProvider", "CUDAExecutionProvider"]}, "cpu"),
        ({"device": 0}, "cuda:0"),
        ({"device": None}, "auto"),
        ({"device": "cpu", "device_map": "cpu"}, "cpu"),
    ],
    ids=str,
)
def test_devices_by_other_names(arguments, device):
    given = dict(arguments)
    assert Loading.read(given.pop("device", "auto"), None, given).device == device


def test_a_subfolder(embedded_export, tmp_path):
    shutil.copytree(embedded_export, tmp_path / "inner")
    assert GPTNeoForCausalLM.from_pretrained(tmp_path, subfolder="inner")


def test_the_typed_names_are_those_that_are_read():
    assert {*LoadArguments.__annotations__} == LOAD_NAMES


class TestPipelines:
    def test_model_kwargs_are_from_pretraineds(self, embedded_export):
        kwargs = {"num_threads": 1, "slots": 2, "low_cpu_mem_usage": True, "provider_options": {}}
        generator = pipeline("text-generation", embedded_export, model_kwargs=kwargs)
        assert generator("She", max_new_tokens=1)
        loaded_by = generator.model.engine.__reduce__()[0].keywords
        assert (loaded_by["num_threads"], loaded_by["slots"]) == (1, 2)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"model_kwargs": 3}, "model_kwargs is 3; arguments of from_pretrained"),
            ({"model_kwargs": {"device": "cpu"}}, r"pass device= to pipeline\(\)"),
            ({"model_kwargs": {"slot": 1}}, r"pipeline\(\) has no argument 'slot'; it has slots"),
            ({"config": {}}, r"pipeline\(\) takes no config"),
            ({"dtype": "float16"}, "dtype is float16, and this graph calculates in float32"),
            ({"tempreature": 1}, "pipeline has no argument 'tempreature'; it has temperature"),
            ({"devce": 1}, "no argument 'devce'; it has device, device_map"),
            ({"generation_config": {}}, "an argument of the pipeline's calls; pass it there"),
        ],
        ids=str,
    )
    def test_others_say_what_to_do(self, embedded_export, arguments, message):
        with pytest.raises(InputError, match=message):
            pipeline("text-generation", embedded_export, **arguments)

    def test_attributes(self, embedded_export):
        generator = pipeline("text-generation", embedded_export)
        assert (generator.task, generator.framework) == ("text-generation", "np")
        assert generator.device == generator.model.device
        assert generator.dtype == generator.torch_dtype == "float32"
        extractor = pipeline("feature-extraction", embedded_export)
        assert extractor.task == "feature-extraction"
        assert extractor.predict("She") == extractor.transform("She") == extractor("She")

    def test_a_loaded_model_is_moved(self, embedded_export):
        model = GPTNeoForCausalLM.from_pretrained(embedded_export, device="cpu")
        tokenizer = Tokenizer.from_pretrained(embedded_export)
        assert pipeline("text-generation", model, tokenizer, device=-1).model is model
        with pytest.raises(DeviceError):
            pipeline("text-generation", model, tokenizer, device="cuda")
