"""A script that runs generate() of transformers 4.53, the last release line with diverse beams.

    PYTHONPATH=build/transformers-4.53 python older_transformers.py CHECKPOINT < calls.json

Standard input is a list of calls {"ids", "mask", "arguments"}; standard output is, for each, its
sequences and their scores. tests/peers/test_group_beams.py starts it in its own process.
"""

import json
import sys

import torch
import transformers


def main() -> None:
    assert transformers.__version__ == "4.53.3", transformers.__version__
    torch.set_flush_denormal(True)
    model = transformers.GPTNeoForCausalLM.from_pretrained(sys.argv[1]).eval()
    results = []
    for call in json.load(sys.stdin):
        with torch.no_grad():
            output = model.generate(
                torch.tensor(call["ids"]),
                attention_mask=torch.tensor(call["mask"]),
                do_sample=False,
                return_dict_in_generate=True,
                output_scores=True,
                **call["arguments"],
            )
        results.append([output.sequences.tolist(), output.sequences_scores.tolist()])
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
