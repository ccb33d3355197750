"""The shortest check that an environment works: the embedded model is exported, and writes text."""

from gptneo_onnx.runtime import pipeline, set_seed


def test_the_model_cards_example(embedded_export):
    set_seed(42)
    generator = pipeline("text-generation", model=embedded_export, device="cpu")
    results = generator("EleutherAI has", do_sample=True, min_length=50)
    assert len(results) == 1
    assert results[0]["generated_text"].startswith("EleutherAI has")
    assert len(generator.tokenizer.encode(results[0]["generated_text"])) >= 50
    set_seed(42)
    assert generator("EleutherAI has", do_sample=True, min_length=50) == results
