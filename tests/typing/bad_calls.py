"""Calls that type checkers refuse. `make check` reads this file.

mypy's warn_unused_ignores reports each line whose error is missing.
"""

from gptneo_onnx import GenerationConfig, GPTNeoForCausalLM, pipeline

model = GPTNeoForCausalLM.from_pretrained("gpt-neo-1.3B")
model.generate([[1]], max_lenght=3)  # type: ignore[call-overload]
model.generate([[1]], max_new_tokens="3")  # type: ignore[call-overload]
model.generate([[1]], streamer=print)  # type: ignore[call-overload]
model.generate_tokens([[1]], tempreature=0.5)  # type: ignore[call-arg]
model.parameters()  # type: ignore[attr-defined]
GPTNeoForCausalLM.from_pretrained("gpt-neo-1.3B", providr="x")  # type: ignore[call-arg]
GenerationConfig(max_lenght=3)  # type: ignore[call-arg]
GenerationConfig().updated(top_k="4")  # type: ignore[arg-type]

generator = pipeline("text-generation", "gpt-neo-1.3B")
generator("She was", max_lenght=3)  # type: ignore[call-overload]
generator("She was", do_sample="yes")  # type: ignore[call-overload]
pipeline("text-generation", "gpt-neo-1.3B", tempreature=0.5)  # type: ignore[call-overload]
pipeline("feature-extraction", "gpt-neo-1.3B")("x", poling="mean")  # type: ignore[call-arg]
pipeline("ner", "tagger", aggregation_stratgy="simple")  # type: ignore[call-overload]
