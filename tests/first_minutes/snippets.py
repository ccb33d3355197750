"""What newcomers write in Python in their first minutes, and what each snippet gives.

The names of PRELUDE are there. The last line of a snippet is an expression. GIVES has its value,
and REFUSED the error: its class, and a regular expression found in its message, which is one line.
"""

PRELUDE = """
import copy
import pickle
import threading

import numpy as np

from gptneo_onnx import *

MODEL = "gpt-neo-125m"
model = AutoModelForCausalLM.from_pretrained(MODEL)
tokenizer = AutoTokenizer.from_pretrained(MODEL)
generator = pipeline("text-generation", model=MODEL)
inputs = tokenizer("It is a truth", return_tensors="np")
greedy = {"do_sample": False, "max_new_tokens": 5}
"""

TRUTH = "It is a truth, and I am sure"
IDS = [[919, 365, 259, 1919, 12, 284, 302, 446, 771]]
ONE = [{"generated_text": TRUTH}]
TWO = [ONE, [{"generated_text": "She was not sorry to be\n"}]]

PIPELINES = {
    'pipeline("text-generation", model=MODEL)("It is a truth", **greedy)': ONE,
    'pipeline("text-generation", MODEL)("It is a truth", **greedy)': ONE,
    'pipeline(model=MODEL)("It is a truth", **greedy)': ONE,
    'pipeline("text-generation", model="checkpoint")("It is a truth", **greedy)': ONE,
    'pipeline("text-generation", model=model, tokenizer=tokenizer)("It is a truth", **greedy)': ONE,
    'pipeline("text-generation", model=MODEL, tokenizer=MODEL)("It is a truth", **greedy)': ONE,
    'pipeline("text-generation", model=MODEL, device=-1)("It is a truth", **greedy)': ONE,
    'pipeline("text-generation", model=MODEL, device_map="auto")("It is a truth", **greedy)': ONE,
    'pipeline("text-generation", model=MODEL, torch_dtype="auto")("It is a truth", **greedy)': ONE,
    'pipeline(model=MODEL, max_new_tokens=5, do_sample=False)("It is a truth")': ONE,
    'pipeline(model=MODEL, trust_remote_code=True, framework="pt").task': "text-generation",
    'pipeline("feature-extraction", model=MODEL)("It is")[0][1].__len__()': 256,
    'generator(["It is a truth", "She was"], **greedy)': TWO,
    'generator(["It is a truth", "She was"], batch_size=2, **greedy)': TWO,
    'generator(("It is a truth", "She was"), **greedy)': TWO,
    'generator(np.array(["It is a truth", "She was"]), **greedy)': TWO,
    'list(generator(iter(["It is a truth", "She was"]), **greedy))': TWO,
    """
class Texts:
    def __len__(self):
        return 2

    def __getitem__(self, place):
        return ["It is a truth", "She was"][place]

list(generator(Texts(), **greedy))
""": TWO,
    'generator("It is a truth", max_length=9, do_sample=False)': ONE,
    'generator("It is a truth", temperature=0, max_new_tokens=5)': ONE,
    'generator("It is a truth", temperature=0.0, do_sample=True, max_new_tokens=5)': ONE,
    'generator("It is a truth", max_new_tokens=5, top_k=1)': ONE,
    'generator("It is a truth", return_full_text=False, **greedy)': [
        {"generated_text": ", and I am sure"}
    ],
    'generator("It is a truth", return_tensors=True, **greedy)': [{"generated_token_ids": IDS[0]}],
    'generator("It is a truth", stop_strings=" I", **greedy)': [
        {"generated_text": "It is a truth, and I"}
    ],
    'len(generator("It is a truth", num_return_sequences=2, do_sample=True, max_new_tokens=3))': 2,
    'generator("It is a truth", num_beams=2, **greedy)': ONE,
    'generator("It is a truth", pad_token_id=generator.tokenizer.eos_token_id, **greedy)': ONE,
    'generator("It is a truth", streamer=TextStreamer(generator.tokenizer), **greedy)': ONE,
    "generator([])": [],
    "generator.device.type, generator.framework": ("cpu", "np"),
    """
set_seed(42)
first = generator("It is", max_new_tokens=8)
set_seed(42)
first == generator("It is", max_new_tokens=8)
""": True,
    'pickle.loads(pickle.dumps(generator))("It is a truth", **greedy)': ONE,
    """
generator.save_pretrained("saved-pipeline")
pipeline(model="saved-pipeline")("It is a truth", **greedy)
""": ONE,
}

MODELS = {
    "model.generate(**inputs, **greedy).tolist()": IDS,
    "model.generate(inputs.input_ids, **greedy).tolist()": IDS,
    'model.generate(inputs["input_ids"], attention_mask=inputs["attention_mask"], '
    "**greedy).tolist()": IDS,
    "model.generate([[919, 365, 259, 1919]], **greedy).tolist()": IDS,
    "model.eval().generate(**inputs.to(model.device), **greedy).tolist()": IDS,
    "model.generate(**inputs).shape": (1, 24),
    "model.generate(**inputs, max_length=8).shape": (1, 8),
    "model.generate(**inputs, max_length=6, max_new_tokens=5).shape": (1, 9),
    "model.generate(**inputs, min_new_tokens=5, max_new_tokens=5).shape": (1, 9),
    "model.generate(**inputs, temperature=0, max_new_tokens=5).tolist()": IDS,
    "model.generate(**inputs, temperature=0.7, max_new_tokens=5).tolist()": IDS,
    "model.generate(**inputs, do_sample=True, top_k=1, max_new_tokens=5).tolist()": IDS,
    "model.generate(**inputs, do_sample=True, top_k=0, max_new_tokens=5).shape": (1, 9),
    "model.generate(**inputs, do_sample=True, top_p=0.9, min_p=0.1, max_new_tokens=5).shape": (
        1,
        9,
    ),
    "model.generate(**inputs, do_sample=True, typical_p=0.9, max_new_tokens=5).shape": (1, 9),
    "model.generate(**inputs, do_sample=True, num_return_sequences=2, max_new_tokens=5).shape": (
        2,
        9,
    ),
    "model.generate(**inputs, num_beams=2, num_return_sequences=2, early_stopping=True, "
    "**greedy).shape": (2, 9),
    "model.generate(**inputs, repetition_penalty=1.2, no_repeat_ngram_size=2, **greedy).shape": (
        1,
        9,
    ),
    "12 in model.generate(**inputs, bad_words_ids=[[12]], **greedy)": False,
    "12 in model.generate(**inputs, suppress_tokens=[12], **greedy)": False,
    "model.generate(**inputs, eos_token_id=[12, 0], **greedy).shape": (1, 5),
    'model.generate(**inputs, stop_strings=[" I"], tokenizer=tokenizer, **greedy).shape': (1, 7),
    "model.generate(**inputs, use_cache=False, synced_gpus=False, **greedy).tolist()": IDS,
    "model.generate(**inputs, max_time=60.0, **greedy).tolist()": IDS,
    "model.generate(**inputs, assistant_model=model, **greedy).tolist()": IDS,
    "model.generate(**inputs, prompt_lookup_num_tokens=3, **greedy).tolist()": IDS,
    "model.generate(**inputs, generation_config=GenerationConfig(**greedy)).tolist()": IDS,
    "len(model.generate(**inputs, return_dict_in_generate=True, output_scores=True, "
    "**greedy).scores)": 5,
    "model.generate(**inputs, return_dict_in_generate=True, **greedy).sequences.tolist()": IDS,
    "model.generate(**inputs, streamer=TextStreamer(tokenizer, skip_prompt=True), "
    "**greedy).tolist()": IDS,
    """
streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
thread = threading.Thread(target=model.generate, kwargs={**inputs, "streamer": streamer, **greedy})
thread.start()
text = "".join(streamer)
thread.join()
text
""": ", and I am sure",
    """
results = []
calls = [
    threading.Thread(target=lambda: results.append(model.generate(**inputs, **greedy).tolist()))
    for _ in range(4)
]
[call.start() for call in calls]
[call.join() for call in calls]
results
""": [IDS] * 4,
    """
padded = AutoTokenizer.from_pretrained(MODEL, padding_side="left")
padded.pad_token = padded.eos_token
batch = padded(["It is a truth", "She was"], padding=True, return_tensors="np")
padded.batch_decode(model.generate(**batch, **greedy), skip_special_tokens=True)
""": [TRUTH, "She was not sorry to be\n"],
    "model(**inputs).logits.shape": (1, 4, 4096),
    "model(inputs.input_ids)[0].shape": (1, 4, 4096),
    "model.forward(**inputs).logits.shape": (1, 4, 4096),
    "round(float(model(**inputs, labels=inputs.input_ids).loss), 1)": 4.3,
    "model(**inputs, return_dict=False)[0].shape": (1, 4, 4096),
    "AutoModel.from_pretrained(MODEL)(**inputs).last_hidden_state.shape": (1, 4, 256),
    'model.to("cpu") is model.cpu() is model.eval() is model.float() is model': True,
    "model.dtype, model.device.type": ("float32", "cpu"),
    "model.num_parameters()": 5914112,
    "model.config.vocab_size, model.config.num_hidden_layers": (4096, 6),
    "model.generation_config.eos_token_id": 0,
    "model.name_or_path, model.can_generate()": ("gpt-neo-125m", True),
    "repr(model)": "GPTNeoForCausalLM(name_or_path='gpt-neo-125m', dtype='float32', num_layers=6, "
    "hidden_size=256, vocab_size=4096, device='cpu')",
    'repr(generator).startswith("TextGenerationPipeline(model=GPTNeoForCausalLM(name")': True,
    "copy.deepcopy(model).generate(**inputs, **greedy).tolist()": IDS,
    "pickle.loads(pickle.dumps(model)).generate(**inputs, **greedy).tolist()": IDS,
    """
model.save_pretrained("saved")
AutoModelForCausalLM.from_pretrained("saved").generate(**inputs, **greedy).tolist()
""": IDS,
    'AutoModelForCausalLM.from_pretrained("checkpoint").generate(**inputs, **greedy).tolist()': IDS,
    'AutoModelForCausalLM.from_pretrained("checkpoint", export=True).dtype': "float32",
    'AutoModelForCausalLM.from_pretrained(MODEL, torch_dtype="auto", device_map="auto", '
    'low_cpu_mem_usage=True, attn_implementation="sdpa").dtype': "float32",
    'AutoModelForCausalLM.from_pretrained(MODEL, provider="CPUExecutionProvider", use_cache=True, '
    "use_io_binding=True).device.type": "cpu",
    "AutoModelForCausalLM.from_pretrained(MODEL, dtype=np.float32).dtype": "float32",
}

TOKENIZERS = {
    'dict(tokenizer("It is a truth"))': {
        "input_ids": [919, 365, 259, 1919],
        "attention_mask": [1, 1, 1, 1],
    },
    'tokenizer("It is a truth", return_tensors="np").input_ids.shape': (1, 4),
    'tokenizer("It is a truth", max_length=3, truncation=True).input_ids': [919, 365, 259],
    'tokenizer.encode("It is")': [919, 365],
    'tokenizer.decode(tokenizer.encode("It is"))': "It is",
    "tokenizer.decode(model.generate(**inputs, **greedy)[0], skip_special_tokens=True)": TRUTH,
    "tokenizer.batch_decode(model.generate(**inputs, **greedy))": [TRUTH],
    'tokenizer.tokenize("It is")': ["It", "Ġis"],
    "len(tokenizer), tokenizer.vocab_size": (4096, 4096),
    "tokenizer.eos_token, tokenizer.pad_token": ("<|endoftext|>", None),
    "AutoTokenizer.from_pretrained(MODEL, use_fast=False).model_max_length": 512,
    'pickle.loads(pickle.dumps(tokenizer))("It is").input_ids': [919, 365],
    """
tokenizer.save_pretrained("saved-tokenizer")
AutoTokenizer.from_pretrained("saved-tokenizer").encode("It is")
""": [919, 365],
}

GIVES = {**PIPELINES, **MODELS, **TOKENIZERS}

REFUSED = {
    # Names that are misspelt, or another library's.
    'generator("It is", tempreature=0.5)': "no argument 'tempreature'; it has temperature",
    'generator("It is", max_lenght=5)': "no argument 'max_lenght'; it has max_length",
    'generator("It is", max_tokens=5)': "no argument 'max_tokens'; it has max_new_tokens$",
    'generator("It is", stop=".")': "no argument 'stop'; it has stop_strings$",
    "model.generate(**inputs, max_lenght=8)": "no argument 'max_lenght'; it has max_length",
    "model.generate(**inputs, tempreature=1)": "no argument 'tempreature'; it has temperature",
    'model.generate(**inputs, stop=".")': "no argument 'stop'; it has stop_strings$",
    "model.generate(**inputs, max_tokens=8)": "no argument 'max_tokens'; it has max_new_tokens$",
    "GenerationConfig(max_lenght=5)": "no argument 'max_lenght'; it has max_length",
    "pipeline(model=MODEL, devise=0)": "no argument 'devise'; it has device",
    'pipeline("text-generaton", model=MODEL)': "task is 'text-generaton'; one of text-generation",
    'pipeline("summarization", model=MODEL)': "task is 'summarization'; one of text-generation",
    "pipeline(MODEL)": "task is 'gpt-neo-125m'; one of text-generation",
    # Wrong values and types.
    'generator("It is", max_new_tokens="5")': "max_new_tokens is '5'; a whole number of at least 1",
    'generator("It is", max_new_tokens=0)': "max_new_tokens is 0; a whole number of at least 1",
    'generator("It is", max_length=1)': "max_length is 1, but the prompt alone has 2 tokens",
    'generator("It is " * 300, max_new_tokens=5)': r"the prompt has \d+ tokens, more than the "
    "context of 512; shorten it",
    'generator("It is", do_sample=True, temperature="hot")': "temperature is 'hot'; a number",
    'generator("It is", num_return_sequences=2, **greedy)': "greedy decoding has one result per",
    "generator(None)": "prompts are of type NoneType; a text or several are expected",
    'generator(b"It is")': "prompts are of type bytes; a text or several are expected",
    'generator([{"role": "user", "content": "Hi"}])': "the tokenizer has no chat template",
    'model.generate(**inputs, do_sample=True, temperature="0.7")': "temperature is '0.7'; a number",
    "model.generate(**inputs, do_sample=True, temperature=-1)": "temperature is -1; a number above",
    "model.generate(**inputs, do_sample=True, top_k=-1)": "top_k is -1; a whole number",
    "model.generate(**inputs, do_sample=True, top_p=-1)": "top_p is -1; a number of at least 0",
    "model.generate(**inputs, num_beams=0)": "num_beams is 0; a whole number of at least 1",
    "model.generate(**inputs, num_beams=2, num_return_sequences=3)": "only 2 beams; raise",
    "model.generate(**inputs, max_length=2)": "max_length is 2, but the prompt alone has 4 tokens",
    "model.generate(**inputs, max_new_tokens=600)": "more than the context of 512; at most 509",
    'model.generate(**inputs, stop_strings=["."])': "there is no tokenizer; pass tokenizer=",
    "model.generate(**inputs, streamer=print)": "streamer is of type builtin_function_or_method",
    "model.generate(**inputs, generation_config=greedy)": "generation_config is of type dict; a G",
    "model.generate(**inputs, penalty_alpha=0.6, top_k=4)": "penalty_alpha=0.6 is not supported",
    "model.generate(inputs, **greedy)": r"input_ids is of type BatchEncoding; .*\*\*inputs",
    'model.generate("It is a truth")': r"input_ids holds text; pass what tokenizer\(text",
    'model.generate(["It is a truth"])': r"input_ids holds text; pass what tokenizer\(text",
    "model.generate([919, 365])": r"input_ids has shape \[2\]; \[batch, sequence\] is expected",
    "model.generate([[99999]])": "token id 99999 of input_ids is out of range; 0 to 4095",
    "model.generate([[1.5]])": "input_ids is of type float64; whole numbers are expected",
    "model.generate([[0] * 600])": "sequence 0 of input_ids has 600 tokens, the model",
    'model("It is")': r"input_ids holds text; pass what tokenizer\(text",
    'set_seed("x")': "seed is 'x'; a whole number of at least 0 is allowed",
    # What an export has not.
    "model.half()": "this graph calculates in float32; export the checkpoint with --precision fp16",
    "model.train()": "an exported model only computes outputs; train the checkpoint",
    "model.parameters()": "an exported model has its weights inside the graph",
    "model.state_dict()": "an exported model has its weights inside the graph",
    'model.push_to_hub("owner/name")': "models are not uploaded here; run: hf upload",
    "model(**inputs, output_hidden_states=True)": "export the checkpoint with --hidden-states all",
    "model(**inputs, output_attentions=True)": "the graph does not give attention weights",
    'pipeline("sentiment-analysis", model=MODEL)': "lacks the head of GPTNeoForSequenceClass",
    # Devices, types and models that are not there.
    'model.to("cuda")': "device cuda:0 cannot be used: the installed ONNX Runtime has no CUDA",
    "pipeline(model=MODEL, device=0)": "device cuda:0 cannot be used",
    'pipeline(model=MODEL, device="cuda")': "device cuda:0 cannot be used",
    'pipeline(model=MODEL, device="mps")': "device is 'mps'; auto, cpu, cuda or cuda:N is allowed",
    'AutoModelForCausalLM.from_pretrained(MODEL, provider="CUDAExecutionProvider")': "cuda:0",
    'AutoModelForCausalLM.from_pretrained(MODEL, torch_dtype="float16")': "torch_dtype is float16",
    "AutoModelForCausalLM.from_pretrained(MODEL, load_in_8bit=True)": "--precision int8 or int4",
    "AutoModelForCausalLM.from_pretrained(MODEL, export=True)": "is an export, not a checkpoint",
    'AutoModelForCausalLM.from_pretrained("nowhere")': "'nowhere' is neither a directory nor",
    'AutoModelForCausalLM.from_pretrained("EleutherAI/gpt-neo-125m")': "nothing is fetched",
    "AutoModelForCausalLM.from_pretrained(None)": "the model is of type NoneType; an exported dir",
    'pipeline("text-generation")': "no model was given; pass model=: an exported directory",
    'pipeline("text-generation", model=model)': "comes without its tokenizer; pass tokenizer=",
    'AutoTokenizer.from_pretrained("nowhere")': "tokenizer of nowhere is not in the cache",
    # Tokenizers.
    'tokenizer("It is", return_tensors="tf")': "return_tensors is 'tf'; 'np' is allowed",
    'tokenizer(["It is", "She"], return_tensors="np")': "numbers of tokens; pass padding=True",
    'tokenizer(["It is", "She"], padding=True)': "no pad_token to pad with; set one, as in",
    'tokenizer("It is", max_len=3)': "no argument max_len; they have max_length",
    'tokenizer.decode("It is")': "takes the ids of one text, not 'It is'; batch_decode",
    "tokenizer.decode([[1, 2], [3, 4]])": "takes the ids of one text, .*batch_decode",
    "AutoTokenizer.from_pretrained(None)": "the tokenizer is of type NoneType; a directory or a",
    "tokenizer(5)": "a prompt is of type int; a text is expected",
    'tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}])': "no chat template",
    'export_model("nowhere", "out")': "'nowhere' is not a directory; pass a directory that holds",
    'export_model("checkpoint", "out", precision="fp8")': "precision is 'fp8'; one of fp32, fp16",
}
