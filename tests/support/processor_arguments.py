"""Arguments of every public processor and criterion, which transformers' classes take too."""

import torch

VOCAB = 12

REST = {"filter_value": -float("inf"), "min_tokens_to_keep": 1}
PROMPTS = torch.tensor([[1, 2, 3, 1], [4, 5, 5, 6]])
PROCESSORS = {
    "TemperatureLogitsWarper": {"temperature": 0.5},
    "TopKLogitsWarper": {"top_k": 3, **REST},
    "TopPLogitsWarper": {"top_p": 0.5, **REST},
    "MinPLogitsWarper": {"min_p": 0.5, **REST},
    "TypicalLogitsWarper": {"mass": 0.5, **REST},
    "EpsilonLogitsWarper": {"epsilon": 0.1, **REST},
    "EtaLogitsWarper": {"epsilon": 0.1, **REST, "device": "cpu"},
    "LogitNormalization": {},
    "InfNanRemoveLogitsProcessor": {},
    "MinLengthLogitsProcessor": {"min_length": 50, "eos_token_id": 2, "device": "cpu"},
    "MinNewTokensLengthLogitsProcessor": {
        "prompt_length_to_skip": 1, "min_new_tokens": 50, "eos_token_id": 2, "device": "cpu",
    },
    "ForcedBOSTokenLogitsProcessor": {"bos_token_id": 2},
    "ForcedEOSTokenLogitsProcessor": {"max_length": 5, "eos_token_id": 2, "device": "cpu"},
    "SuppressTokensLogitsProcessor": {"suppress_tokens": [2], "device": "cpu"},
    "SuppressTokensAtBeginLogitsProcessor": {
        "begin_suppress_tokens": [2], "begin_index": 4, "device": "cpu",
    },
    "ExponentialDecayLengthPenalty": {
        "exponential_decay_length_penalty": (1, 1.5), "eos_token_id": 2, "input_ids_seq_length": 1,
    },
    "PrefixConstrainedLogitsProcessor": {
        "prefix_allowed_tokens_fn": lambda batch, ids: [1, 2], "num_beams": 1,
    },
    "RepetitionPenaltyLogitsProcessor": {"penalty": 1.5, "prompt_ignore_length": None},
    "EncoderRepetitionPenaltyLogitsProcessor": {"penalty": 1.5, "encoder_input_ids": PROMPTS},
    "NoRepeatNGramLogitsProcessor": {"ngram_size": 2},
    "EncoderNoRepeatNGramLogitsProcessor": {
        "encoder_ngram_size": 2, "encoder_input_ids": PROMPTS,
    },
    "SequenceBiasLogitsProcessor": {"sequence_bias": {(1,): 2.0}},
    "NoBadWordsLogitsProcessor": {"bad_words_ids": [[1], [2, 3]], "eos_token_id": None},
    "HammingDiversityLogitsProcessor": {
        "diversity_penalty": 0.5, "num_beams": 4, "num_beam_groups": 2,
    },
    "WatermarkLogitsProcessor": {
        "vocab_size": VOCAB, "device": "cpu", "greenlist_ratio": 0.5, "bias": 2.0,
        "hashing_key": 15485863, "seeding_scheme": "lefthash", "context_width": 1,
    },
    "SynthIDTextWatermarkLogitsProcessor": {
        "ngram_len": 3, "keys": [5, 6], "sampling_table_size": 64, "sampling_table_seed": 1,
        "context_history_size": 4, "device": "cpu", "skip_first_ngram_calls": False,
        "debug_mode": False,
    },
}  # fmt: skip
CRITERIA = {
    "MaxLengthCriteria": {"max_length": 4, "max_position_embeddings": None},
    "MaxTimeCriteria": {"max_time": 5.0, "initial_timestamp": 0.0},
    "EosTokenCriteria": {"eos_token_id": 2},
    "ConfidenceCriteria": {"assistant_confidence_threshold": 0.1},
}
