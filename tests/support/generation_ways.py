"""Arguments that make generate() use each of its strategies, for a batch of three prompts."""

from typing import Any

WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampled": {"do_sample": True, "seed": 3, "top_k": 20},
    "several": {"do_sample": True, "seed": 4, "num_return_sequences": 3},
    "beams": {"num_beams": 3},
    "beams that are sampled": {"num_beams": 3, "do_sample": True, "seed": 5},
    "groups of beams": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
    "prompt lookup": {"prompt_lookup_num_tokens": 4},
    "guidance": {"guidance_scale": 1.5, "negative_prompt_ids": [[5, 6, 7]] * 3},
    "an end token": {"eos_token_id": [*range(1, 60)]},
    "penalties": {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
}
