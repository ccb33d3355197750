"""A server of this project's model that serves requests one after another.

    python benchmarks/serving/one_at_a_time.py DIRECTORY PORT THREADS

It is what one writes first: generate_tokens() in the order in which requests come.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

from completions_app import Deliver, serve

from gptneo_onnx.runtime import GPTNeoForCausalLM


def main() -> None:
    """Serve until a signal ends it."""
    directory, port, threads = sys.argv[1], *map(int, sys.argv[2:])
    model = GPTNeoForCausalLM.from_pretrained(directory, device="cpu", num_threads=threads)
    one = ThreadPoolExecutor(max_workers=1)

    def generate(ids: list[int], limit: int, deliver: Deliver) -> None:
        for step in model.generate_tokens(
            [ids], max_new_tokens=limit, do_sample=False, eos_token_id=None
        ):
            deliver(step.token)
        deliver(None)

    serve(directory, port, lambda *request: one.submit(generate, *request))


if __name__ == "__main__":
    main()
