"""Calls that type checkers accept, with the types of their results. `make check` reads this file.

What a call returns is stated by assert_type, so that a change of it is noticed.
"""

from collections.abc import Iterator
from typing import Any, assert_type

from gptneo_onnx import (
    GenerateBeamDecoderOnlyOutput,
    GenerateDecoderOnlyOutput,
    GenerationConfig,
    GPTNeoForCausalLM,
    TextGenerationPipeline,
    TextStreamer,
    Tokenizer,
    pipeline,
)
from gptneo_onnx.runtime.arrays import Ids
from gptneo_onnx.runtime.generation.strategies.sequences import GeneratedToken

Results = list[dict[str, Any]]
Output = GenerateDecoderOnlyOutput | GenerateBeamDecoderOnlyOutput

model = GPTNeoForCausalLM.from_pretrained(
    "gpt-neo-1.3B", provider="CPUExecutionProvider", use_cache=True, torch_dtype="auto"
)
assert_type(model.to("cpu").eval(), GPTNeoForCausalLM)
assert_type(model.num_parameters(), int)
tokenizer = Tokenizer.from_pretrained("gpt-neo-1.3B")

assert_type(model.generate([[1, 2]], max_new_tokens=3, do_sample=True, top_p=0.9, seed=1), Ids)
assert_type(model.generate([[1]], stop_strings=["."], tokenizer=tokenizer), Ids)
assert_type(model.generate([[1]], return_dict_in_generate=True, output_scores=True), Output)
assert_type(model.generate([[1]], generation_config=GenerationConfig(num_beams=2)), Any)
model.generate(**tokenizer("She was", return_tensors="np"), max_new_tokens=3)
model.generate([[1]], streamer=TextStreamer(tokenizer), assistant_model="int4")
for token in model.generate_tokens([[1]], max_new_tokens=3):
    assert_type(token, GeneratedToken)

generator = pipeline("text-generation", "gpt-neo-1.3B", device_map="auto", max_new_tokens=3)
assert_type(generator, TextGenerationPipeline)
assert_type(generator("She was", temperature=0.8, return_full_text=False), Results)
assert_type(generator(["She was", "Sir"], batch_size=2, num_workers=0), list[Results])
assert_type(generator(iter(["She was"]), max_length=20), Iterator[Results])

pipeline("feature-extraction", "gpt-neo-1.3B")("She was", pooling="mean", normalize=True)
pipeline("sentiment-analysis", "classifier", top_k=None)("She was", truncation=True)
pipeline("ner", "tagger")("She was", aggregation_strategy="simple")
pipeline("question-answering", "answerer")(question="Who?", context="She was", top_k=2)
