"""The detectors of watermarks against transformers' classes."""

import numpy as np
import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime import generation

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from transformers.generation import logits_process, watermarking  # noqa: E402


@pytest.mark.parametrize("scheme", ["lefthash", "selfhash"])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_green_lists_are_detected(scheme, width, random):
    config = {"seeding_scheme": scheme, "context_width": width, "bias": 9.0}
    model_config = transformers.GPTNeoConfig(vocab_size=60, bos_token_id=3)
    marking = transformers.WatermarkingConfig(**config)
    theirs = transformers.WatermarkDetector(model_config, "cpu", marking)
    ours = generation.WatermarkDetector(model_config, "cpu", config)
    processor = generation.WatermarkingConfig(**config).construct_processor(60)
    text = random.integers(0, 60, (3, 4))
    for _ in range(20):
        scores = random.normal(size=(3, 60)).astype(np.float32)
        text = np.column_stack([text, processor(text, scores).argmax(-1)])
    for ids in (text, random.integers(0, 60, (3, 25)), np.column_stack([[3, 3, 3], text])):
        for threshold in (3.0, 0.5):
            found = ours(ids, z_threshold=threshold, return_dict=True)
            expected = theirs(torch.from_numpy(ids), z_threshold=threshold, return_dict=True)
            assert vars(found).keys() == vars(expected).keys()
            for field, value in vars(expected).items():
                np.testing.assert_allclose(getattr(found, field), value, err_msg=field)
            assert (ours(torch.from_numpy(ids), threshold) == expected.prediction).all()
    assert ours(text).all()
    for detector in (ours, theirs):
        with pytest.raises(ValueError, match="at least"):
            detector(torch.zeros(1, width, dtype=torch.int64))


def test_a_run_that_comes_again_can_count_once():
    config = generation.WatermarkingConfig()
    model_config = transformers.GPTNeoConfig(vocab_size=60, bos_token_id=3)
    detector = generation.WatermarkDetector(model_config, "cpu", config, True)
    found = detector([[1, 2, 1, 2, 1, 5]], return_dict=True)
    assert found.num_tokens_scored.tolist() == [3]


@pytest.mark.parametrize("batch", [1, 3])
def test_synthid_is_detected(batch, random, tmp_path):
    torch.manual_seed(5)
    config = watermarking.BayesianDetectorConfig(watermarking_depth=4, base_rate=0.3)
    config.set_detector_information("a-model", {"ngram_len": 3})
    theirs = watermarking.BayesianDetectorModel(config)
    with torch.no_grad():
        theirs.likelihood_model_watermarked.delta.mul_(900)
        theirs.likelihood_model_watermarked.beta.add_(1.5)
    theirs.save_pretrained(tmp_path)
    ours = generation.BayesianDetectorModel.from_pretrained(tmp_path)
    assert ours.config.watermarking_depth == 4
    assert ours.config.model_name == "a-model"
    arguments = (3, [5, 6, 7, 8], 64, 1, 16, "cpu")
    processors = [
        package.SynthIDTextWatermarkLogitsProcessor(*arguments)
        for package in (generation, logits_process)
    ]

    class Ends:
        eos_token_id = 2

    ids = random.integers(0, 9, (batch, 30))
    expected = watermarking.SynthIDTextWatermarkDetector(theirs, processors[1], Ends)(
        torch.from_numpy(ids)
    )
    found = generation.SynthIDTextWatermarkDetector(ours, processors[0], Ends)(ids)
    np.testing.assert_allclose(found[0], expected[0].detach().numpy(), rtol=1e-4)
    by_their_module = generation.SynthIDTextWatermarkDetector(theirs, processors[0], Ends)
    np.testing.assert_allclose(
        by_their_module(torch.from_numpy(ids))[0].detach(), expected[0].detach(), rtol=1e-4
    )
    with pytest.raises(InputError, match="labels train, which needs PyTorch"):
        ours(np.zeros((1, 2, 4)), np.ones((1, 2)), labels=[1])
