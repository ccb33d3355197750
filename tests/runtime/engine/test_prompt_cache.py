"""Saved prompts: what they spare is not computed again, and what comes out is what came out before.

Every result is held against the same call without them, and the prefilled tokens are counted.
"""

import io
import os
import tracemalloc
import zipfile

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint
from plain_generation import left_padded
from refusals import check_message, refused

from gptneo_onnx.export import export_model
from gptneo_onnx.models import InputError
from gptneo_onnx.runtime import GPTNeoForCausalLM, PromptCache
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.fused_decoder import FusedDecoder
from gptneo_onnx.runtime.engine.prompt_cache import SavedSequence

VOCAB, WINDOW = 301, 5
SHAPE = Shape(layers=("global", "local", "local"), window_size=WINDOW)
NOTHING_ENDS = {"eos_token_id": None}


@pytest.fixture
def model(export_shape):
    return GPTNeoForCausalLM.from_pretrained(export_shape(SHAPE), device="cpu")


@pytest.fixture
def prefilled(monkeypatch):
    """How many tokens each call of Decoder.prefill was given, from here on."""
    counts: list[int] = []
    original = Decoder.prefill

    def prefill(self, slot, ids, positions=None):
        counts.append(len(ids))
        return original(self, slot, ids, positions)

    monkeypatch.setattr(Decoder, "prefill", prefill)
    return counts


def steps(output):
    return np.stack(output.logits)


class TestAPromptThatWasSaved:
    @pytest.mark.parametrize("length", [1, WINDOW - 1, WINDOW, WINDOW + 1, 23])
    def test_tokens_and_logits_are_the_same_to_the_bit(self, model, prefilled, random, length):
        prompt = random.integers(0, VOCAB, (1, length))
        wanted = {
            "max_new_tokens": 20,
            "return_dict_in_generate": True,
            "output_logits": True,
            **NOTHING_ENDS,
        }
        plain = model.generate(prompt, **wanted)
        cache = model.prefill(prompt)
        prefilled.clear()
        restored = model.generate(prompt, past_key_values=cache, **wanted)
        assert prefilled == []
        assert restored.sequences.tolist() == plain.sequences.tolist()
        assert (steps(restored) == steps(plain)).all()
        assert steps(restored).shape == (20, 1, VOCAB)

    @pytest.mark.parametrize("chunk", [1, 4, 6])
    @pytest.mark.parametrize("is_argument", [False, True])
    def test_prefilled_in_chunks(self, model, random, monkeypatch, chunk, is_argument):
        """The rest begins where a chunk ends, so that every step is the same."""
        steps_of = []
        original = FusedDecoder._append

        def append(self, slot, ids, *wanted):
            steps_of.append(len(ids))
            return original(self, slot, ids, *wanted)

        monkeypatch.setattr(FusedDecoder, "_append", append)
        if not is_argument:
            model.engine.prefill_chunk = chunk
        prompt = random.integers(0, VOCAB, (1, 30))
        wanted = {"max_new_tokens": 12, "return_dict_in_generate": True, "output_logits": True}
        wanted |= {"prefill_chunk_size": chunk} if is_argument else {}
        plain = model.generate(prompt, **wanted, **NOTHING_ENDS)
        assert steps_of == [chunk] * (30 // chunk) + [30 % chunk] * (30 % chunk > 0)
        # 12 tokens as plain generation steps them, whatever the chunk that prefill() takes.
        cache = model.generate(
            prompt[:, :12],
            past_key_values=PromptCache(),
            **(wanted | {"max_new_tokens": 1}),
            **NOTHING_ENDS,
        ).past_key_values
        steps_of.clear()
        extended = model.generate(prompt, past_key_values=cache, **wanted, **NOTHING_ENDS)
        assert steps_of == [chunk] * (18 // chunk) + [18 % chunk] * (18 % chunk > 0)
        assert extended.sequences.tolist() == plain.sequences.tolist()
        assert (steps(extended) == steps(plain)).all()

    def test_it_is_not_changed_by_its_use(self, model, random):
        prompt = random.integers(0, VOCAB, (1, 9))
        cache = model.prefill(prompt)
        before = [layer.copy() for layer in cache.sequences[0].layers]
        first = model.generate(prompt, past_key_values=cache, max_new_tokens=30)
        again = model.generate(prompt, past_key_values=cache, max_new_tokens=30)
        assert first.tolist() == again.tolist()
        for layer, unchanged in zip(cache.sequences[0].layers, before, strict=True):
            assert (layer == unchanged).all()

    def test_padding_is_no_part_of_it(self, model, prefilled):
        cache = model.prefill([[9, 9, 4, 5]], [[0, 0, 1, 1]])
        assert cache.sequences[0].ids.tolist() == [4, 5]
        assert cache.get_seq_length() == 2
        prefilled.clear()
        padded = model.generate([[8, 4, 5]], [[0, 1, 1]], past_key_values=cache, max_new_tokens=9)
        assert prefilled == []
        assert padded[0, 3:].tolist() == model.generate([[4, 5]], max_new_tokens=9)[0, 2:].tolist()

    def test_what_it_takes(self, model):
        cache = model.prefill([[1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 8]])
        assert cache.get_seq_length() == 7
        # Keys and values, float32 of 4 heads by 8: 7 rows of the global layer, 5 of two local ones.
        assert cache.nbytes == 2 * 2 * 4 * (4 * 8) * (7 + 2 * WINDOW)


class TestAPromptThatDiffers:
    """How much of the saved sequence serves; `spared` tokens are not prefilled."""

    @pytest.mark.parametrize(
        ("saved", "prompt", "spared"),
        [
            pytest.param(range(20), range(30), 20, id="extends it"),
            pytest.param(range(4), range(5), 4, id="extends it by one, inside the window"),
            pytest.param(range(20), range(12), 0, id="is shorter, and rows have left the window"),
            pytest.param(range(5), range(3), 2, id="is shorter: its last token is stepped"),
            pytest.param(range(5), [0, 1, 2, 9, 9, 9, 9], 3, id="differs, all rows still there"),
            pytest.param(range(6), [0, 1, 2, 9, 9, 9, 9], 0, id="differs, a row has gone"),
            pytest.param(range(20), [*range(19), 50, 60], 0, id="differs in the last token"),
            pytest.param(range(5), [0, 1, 2, 3, 9], 4, id="differs in the last token, rows there"),
            pytest.param(range(5), [7, 1, 2, 3, 4], 0, id="differs in the first token"),
            pytest.param([4], [4], 1, id="a single token"),
            pytest.param(range(5), [0], 0, id="a prompt of one token"),
        ],
    )
    def test_what_is_prefilled(self, model, prefilled, saved, prompt, spared):
        prompt = [[*prompt]]
        plain = model.generate(prompt, max_new_tokens=25, **NOTHING_ENDS)
        cache = model.prefill([[*saved]])
        prefilled.clear()
        result = model.generate(prompt, past_key_values=cache, max_new_tokens=25, **NOTHING_ENDS)
        assert sum(prefilled) == len(prompt[0]) - spared
        assert result.tolist() == plain.tolist()

    def test_without_local_layers_all_that_agrees_serves(self, export_shape, prefilled):
        model = GPTNeoForCausalLM.from_pretrained(export_shape(Shape(layers=("global", "global"))))
        prompt = [[*range(12), 90, 91, 92]]
        plain = model.generate(prompt, max_new_tokens=25, **NOTHING_ENDS)
        cache = model.prefill([[*range(20)]])
        prefilled.clear()
        result = model.generate(prompt, past_key_values=cache, max_new_tokens=25, **NOTHING_ENDS)
        assert prefilled == [3]
        assert result.tolist() == plain.tolist()

    def test_the_sequence_that_serves_best_is_taken(self, model, prefilled):
        cache = model.prefill(*left_padded([range(8), range(14), range(11), [3, 4]]))
        prefilled.clear()
        model.generate([[*range(16)]], past_key_values=cache, max_new_tokens=1)
        assert prefilled == [2]

    def test_prefill_itself_goes_on_from_saved_prompts(self, model, prefilled, random):
        prompt = random.integers(0, VOCAB, (1, 20))
        head = model.prefill(prompt[:, :15])
        prefilled.clear()
        whole = model.prefill(prompt, past_key_values=head)
        assert prefilled == [5]
        prefilled.clear()
        result = model.generate(prompt, past_key_values=whole, max_new_tokens=20)
        assert prefilled == []
        assert result.tolist() == model.generate(prompt, max_new_tokens=20).tolist()

    def test_no_saved_prompts_yet(self, model, prefilled):
        assert PromptCache().get_seq_length() == PromptCache().nbytes == 0
        plain = model.generate([[1, 2, 3]], max_new_tokens=20)
        prefilled.clear()
        empty = model.generate([[1, 2, 3]], past_key_values=PromptCache(), max_new_tokens=20)
        assert prefilled == [3]
        assert empty.tolist() == plain.tolist()


class TestEveryStrategy:
    def test_a_ragged_batch_takes_each_its_own(self, model, prefilled, random):
        heads = [random.integers(0, VOCAB, length) for length in (3, 17, 8)]
        cache = model.prefill(*left_padded(heads))
        tails = [random.integers(0, VOCAB, length) for length in (6, 1, 2)]
        new = random.integers(0, VOCAB, 4)
        prompts = [np.concatenate(pair) for pair in zip(heads, tails, strict=True)]
        inputs = left_padded([prompts[2], new, prompts[0], heads[1], prompts[1]])
        plain = model.generate(*inputs, max_new_tokens=20, **NOTHING_ENDS)
        prefilled.clear()
        saved = model.generate(*inputs, past_key_values=cache, max_new_tokens=20, **NOTHING_ENDS)
        assert prefilled == [2, 4, 6, 1]
        assert saved.tolist() == plain.tolist()

    @pytest.mark.parametrize(
        "arguments",
        [
            {"do_sample": True, "seed": 3, "num_return_sequences": 4},
            {"num_beams": 3, "num_return_sequences": 2},
            {"num_beams": 3, "do_sample": True, "seed": 3},
            {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.5},
            {"prompt_lookup_num_tokens": 5},
            {"guidance_scale": 1.5},
        ],
        ids=str,
    )
    def test_starts_from_saved_prompts(self, model, prefilled, random, arguments):
        prompts = random.integers(0, VOCAB, (2, 18))
        common = {"max_new_tokens": 15, "eos_token_id": None, **arguments}
        plain = model.generate(prompts, **common)
        cache = model.prefill(prompts[:, :13])
        prefilled.clear()
        saved = model.generate(prompts, past_key_values=cache, **common)
        negatives = [1, 1] if "guidance_scale" in arguments else []
        assert sorted(prefilled) == [*negatives, 5, 5]
        assert saved.tolist() == plain.tolist()

    def test_assisted_by_a_model(self, model, prefilled, random, tmp_path):
        checkpoint = write_checkpoint(tmp_path / "draft", Shape(layers=("local",)), random)
        draft = GPTNeoForCausalLM.from_pretrained(export_model(checkpoint, tmp_path / "small"))
        prompt = random.integers(0, VOCAB, (1, 18))
        plain = model.generate(prompt, max_new_tokens=25, **NOTHING_ENDS)
        cache = model.prefill(prompt)
        prefilled.clear()
        result = model.generate(
            prompt,
            past_key_values=cache,
            assistant_model=draft,
            max_new_tokens=25,
            **NOTHING_ENDS,
        )
        # The draft model has no cache of the prompt: it alone prefills, prompt and first token.
        assert prefilled[0] == 19
        assert result.tolist() == plain.tolist()

    def test_negative_prompts_are_saved_prompts_too(self, model, prefilled, random):
        prompt, negative = random.integers(0, VOCAB, (2, 1, 11))
        arguments = {
            "guidance_scale": 1.5,
            "negative_prompt_ids": negative,
            "max_new_tokens": 10,
            **NOTHING_ENDS,
        }
        plain = model.generate(prompt, **arguments)
        cache = model.prefill(np.concatenate([prompt, negative]))
        prefilled.clear()
        result = model.generate(prompt, past_key_values=cache, **arguments)
        assert prefilled == []
        assert result.tolist() == plain.tolist()


class TestGoingOn:
    def test_a_chat_is_one_call_on_the_joined_ids(self, model, prefilled, random):
        cache, ids = PromptCache(), np.empty((1, 0), np.int64)
        for turn in range(4):
            asked = random.integers(0, VOCAB, (1, 5))
            ids = np.concatenate([ids, asked], axis=1)
            plain = model.generate(ids, max_new_tokens=8, **NOTHING_ENDS)
            prefilled.clear()
            output = model.generate(
                ids,
                past_key_values=cache,
                max_new_tokens=8,
                return_dict_in_generate=True,
                **NOTHING_ENDS,
            )
            # The last token of the answer before was never stepped.
            assert prefilled == [5 + (turn > 0)]
            assert output.sequences.tolist() == plain.tolist()
            cache, ids = output.past_key_values, output.sequences
            assert cache.get_seq_length() == ids.shape[1] - 1

    @pytest.mark.parametrize("assisted", [{}, {"prompt_lookup_num_tokens": 6}], ids=str)
    def test_each_sequence_of_a_batch_has_its_own(self, model, prefilled, random, assisted):
        prompts = [random.integers(0, VOCAB, length) for length in (4, 12, 7)]
        ids, mask = left_padded(prompts)
        plain = model.generate(ids, mask, max_new_tokens=20, **NOTHING_ENDS)
        end = int(plain[1, 12 + 4])  # one of them, if no more, ends early
        output = model.generate(
            ids,
            mask,
            past_key_values=PromptCache(),
            max_new_tokens=20,
            eos_token_id=end,
            pad_token_id=300,
            return_dict_in_generate=True,
            **assisted,
        )
        texts = []
        for prompt, row in zip(prompts, plain[:, 12:].tolist(), strict=True):
            generated = row[: row.index(end) + 1] if end in row else row
            texts.append([*prompt.tolist(), *generated])
        saved = output.past_key_values.sequences
        assert [sequence.ids.tolist() for sequence in saved] == [text[:-1] for text in texts]
        assert min(map(len, texts)) < max(map(len, texts))
        longer = left_padded([[*text, 7, 8] for text in texts])
        expected = model.generate(*longer, max_new_tokens=15, **NOTHING_ENDS)
        prefilled.clear()
        result = model.generate(
            *longer, past_key_values=output.past_key_values, max_new_tokens=15, **NOTHING_ENDS
        )
        assert prefilled == [3, 3, 3]
        assert result.tolist() == expected.tolist()

    def test_several_results_of_a_prompt_go_on(self, model, prefilled, random):
        output = model.generate(
            random.integers(0, VOCAB, (1, 6)),
            past_key_values=PromptCache(),
            do_sample=True,
            top_k=0,
            seed=1,
            num_return_sequences=3,
            max_new_tokens=9,
            return_dict_in_generate=True,
            **NOTHING_ENDS,
        )
        expected = model.generate(output.sequences, max_new_tokens=9, **NOTHING_ENDS)
        prefilled.clear()
        result = model.generate(
            output.sequences,
            past_key_values=output.past_key_values,
            max_new_tokens=9,
            **NOTHING_ENDS,
        )
        assert prefilled == [1, 1, 1]
        assert result.tolist() == expected.tolist()

    def test_it_is_there_only_if_one_was_given(self, model):
        output = model.generate([[1, 2]], return_dict_in_generate=True, max_new_tokens=2)
        assert output.past_key_values is None


class TestSaved:
    @pytest.mark.parametrize("precision", ["fp32", "fp16"])
    def test_to_disk_and_back(self, export_shape, prefilled, random, tmp_path, precision):
        directory = export_shape(SHAPE, precision)
        model = GPTNeoForCausalLM.from_pretrained(directory, device="cpu")
        prompts = random.integers(0, VOCAB, (2, 12))
        plain = model.generate(prompts, max_new_tokens=20, **NOTHING_ENDS)
        model.prefill(prompts).save(tmp_path / "saved")
        assert (tmp_path / "saved").exists()  # under that name, without a suffix put behind
        again = GPTNeoForCausalLM.from_pretrained(directory, device="cpu")
        cache = PromptCache.load(tmp_path / "saved")
        prefilled.clear()
        result = again.generate(prompts, past_key_values=cache, max_new_tokens=20, **NOTHING_ENDS)
        assert prefilled == []
        assert result.tolist() == plain.tolist()

    def test_what_is_read_is_what_was_written(self, model, random, tmp_path):
        cache = model.prefill(random.integers(0, VOCAB, (3, 9)))
        cache.save(str(tmp_path / "saved"))
        read = PromptCache.load(str(tmp_path / "saved"))
        assert read.model == cache.model != ""
        assert len(read.sequences) == 3
        for mine, theirs in zip(read.sequences, cache.sequences, strict=True):
            assert mine.ids.tolist() == theirs.ids.tolist()
            assert (mine.logits == theirs.logits).all()
            assert len(mine.layers) == len(theirs.layers) == 6
            for layer, other in zip(mine.layers, theirs.layers, strict=True):
                assert layer.dtype == other.dtype
                assert layer.tolist() == other.tolist()

    def test_an_empty_one(self, tmp_path):
        PromptCache().save(tmp_path / "empty")
        assert PromptCache.load(tmp_path / "empty") == PromptCache()

    def test_a_file_takes_the_place_of_another(self, tmp_path):
        small_cache(length=3).save(tmp_path / "saved")
        small_cache(length=2).save(tmp_path / "saved")
        assert PromptCache.load(tmp_path / "saved").get_seq_length() == 2
        assert [path.name for path in tmp_path.iterdir()] == ["saved"]


class TestRefused:
    def test_anothers_cache(self, model, export_shape, tmp_path, random):
        checkpoint = write_checkpoint(tmp_path / "twin", SHAPE, random)
        twin = GPTNeoForCausalLM.from_pretrained(export_model(checkpoint, tmp_path / "its export"))
        cache = twin.prefill([[1, 2]])
        with refused(InputError, "made by another model; make one with this model's prefill"):
            model.generate([[1, 2]], past_key_values=cache)
        with refused(InputError, "made by another model"):
            model.prefill([[1, 2]], past_key_values=cache)

    @pytest.mark.parametrize("given", [7, ((1, 2),), "saved.npz"], ids=str)
    def test_what_is_none(self, model, given):
        with refused(InputError, "past_key_values is of type .*; a PromptCache is expected"):
            model.generate([[1, 2]], past_key_values=given)
        with refused(InputError, "past_key_values is of type .*; a PromptCache is expected"):
            model.prefill([[1, 2]], past_key_values=given)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda saved: {"layers": saved.layers[:-1]},
            lambda saved: {"layers": [*saved.layers, saved.layers[0]]},
            lambda saved: {"layers": saved.layers[::-1]},  # a local layer's rows for a global's
            lambda saved: {"layers": [layer[:, :-1] for layer in saved.layers]},
            lambda saved: {"layers": [layer.swapaxes(0, 2) for layer in saved.layers]},
            lambda saved: {"layers": [layer.astype(np.float16) for layer in saved.layers]},
            lambda saved: {"layers": []},
            lambda saved: {"ids": saved.ids[:-1]},
            lambda saved: {"ids": np.zeros(0, np.int64)},
            lambda saved: {"ids": np.zeros(65, np.int64)},
            lambda saved: {"logits": saved.logits[:-1]},
            lambda saved: {"logits": saved.logits[None]},
        ],
        ids=range(12),
    )
    def test_arrays_of_other_shapes(self, model, random, damage):
        cache = model.prefill(random.integers(0, VOCAB, (1, 9)))
        saved = cache.sequences[0]
        fields = {"ids": saved.ids, "layers": saved.layers, "logits": saved.logits}
        damaged = PromptCache((SavedSequence(**(fields | damage(saved))),), cache.model)
        with refused(InputError, "damaged: its arrays are not of this model's shapes; make it ag"):
            model.generate([[1, 2]], past_key_values=damaged)
        assert model.generate([[1, 2]], past_key_values=cache, max_new_tokens=1).shape == (1, 3)


def small_cache(length: int = 3) -> PromptCache:
    ids = np.arange(length)
    layers = [np.arange(2.0 * length * 2).astype(np.float32).reshape(2, length, 2)] * 2
    return PromptCache((SavedSequence(ids, layers, np.ones(5, np.float32)),), "fingerprint")


def contents(cache: PromptCache) -> list:
    return [
        cache.model,
        *[
            (each.ids.tolist(), each.logits.tolist(), [layer.tolist() for layer in each.layers])
            for each in cache.sequences
        ],
    ]


class TestDamagedFiles:
    """Whatever a file holds, load() says what is wrong in a line, and takes no more memory."""

    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "saved"
        small_cache().save(path)
        return path

    def members(self, path):
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def write(self, path, members, compression=zipfile.ZIP_STORED):
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    def npy(self, array):
        file = io.BytesIO()
        np.save(file, array, allow_pickle=True)
        return file.getvalue()

    @pytest.mark.slow
    def test_truncated(self, path):
        whole = path.read_bytes()
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            with refused(InputError, "saved is not a prompt cache, or damaged"):
                PromptCache.load(path)

    @pytest.mark.slow
    def test_a_flipped_bit_is_noticed_or_does_not_matter(self, path, random):
        whole, expected = path.read_bytes(), contents(small_cache())
        noticed = 0
        for bit in random.permutation(8 * len(whole))[:4000].tolist():
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            try:
                read = contents(PromptCache.load(path))
            except InputError as error:
                check_message(error)
                noticed += 1
            else:
                assert read == expected, bit
        assert noticed > 2000

    @pytest.mark.slow
    def test_flipped_bits_inside_members_whose_checksums_agree(self, path, random):
        """As someone would do it on purpose: numpy's headers are read as strictly as numpy's."""
        members = self.members(path)
        noticed = 0
        for _ in range(2500):
            name = str(random.choice([*members]))
            damaged = bytearray(members[name])
            for bit in random.integers(0, 8 * len(damaged), random.integers(1, 4)).tolist():
                damaged[bit // 8] ^= 1 << bit % 8
            self.write(path, members | {name: bytes(damaged)})
            try:
                PromptCache.load(path)
            except InputError as error:
                check_message(error)
                noticed += 1
        assert noticed > 1000

    def test_compressed_members(self, path):
        self.write(path, self.members(path), zipfile.ZIP_DEFLATED)
        with refused(InputError, "'format.npy' is compressed"):
            PromptCache.load(path)

    @pytest.mark.parametrize(
        "header",
        [
            "{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000000, 2, 2), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 3), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -3, 2), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (0, -3, 2), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 700 + ",), }",
            "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3, 2), }",
            "{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3, 2), }",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3, 1), }",
            "{'descr': '|O', 'fortran_order': False, 'shape': (2, 3, 1), }",
            "{'descr': '|V8', 'fortran_order': False, 'shape': (2, 3, 1), }",
            "{'descr': '<f0', 'fortran_order': False, 'shape': (2, 3, 2), }",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3, 2), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': 12, }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L, 2L), }",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': '<f4', 2: False, 'shape': (2, 3, 2), }",
            "{[]: '<f4'}",
            "(" * 900,
            "'" * 3 + "unended",
            "x" * 20000,
            "",
            "\0",
        ],
        ids=range(22),
    )
    def test_headers(self, path, header):
        content = self.members(path)["0.0.npy"][-48:]
        text = header.encode() + b"\n"
        member = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content
        self.write(path, self.members(path) | {"0.0.npy": member})
        tracemalloc.start()
        with refused(InputError, "saved is not a prompt cache, or damaged"):
            PromptCache.load(path)
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
        tracemalloc.stop()

    def test_a_header_as_numpy_would_write_it_is_read(self, path):
        """The test above damages what it means to."""
        content = self.members(path)["0.0.npy"][-48:]
        text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 2), }\n"
        member = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content
        self.write(path, self.members(path) | {"0.0.npy": member})
        assert contents(PromptCache.load(path)) == contents(small_cache())

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that have a name")
    def test_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with refused(InputError, "is not a prompt cache, or damaged: it is a pipe, and a regular"):
            PromptCache.load(tmp_path / "pipe")

    def test_members_listed_many_times_over(self, path):
        """A directory of the archive may name the same bytes again and again."""
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("0.0.npy", self.npy(np.zeros((2, 50_000), np.float32)))
            archive.filelist.extend(archive.filelist * 200)
        tracemalloc.start()
        with refused(InputError, "its members are larger than the file"):
            PromptCache.load(path)
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
        tracemalloc.stop()

    @pytest.mark.parametrize(
        "name", ["format", "model", "sizes", "0.ids", "0.logits", "0.0", "0.1"]
    )
    def test_a_member_that_is_missing(self, path, name):
        members = self.members(path)
        del members[f"{name}.npy"]
        self.write(path, members)
        with refused(InputError, "is not a prompt cache; make one|is a damaged prompt cache; make"):
            PromptCache.load(path)

    @pytest.mark.parametrize(
        ("name", "array"),
        [
            ("format", np.frombuffer(b"gptneo-onnx prompt cache 2", np.uint8)),
            ("model", np.array([255, 254], np.uint8)),
            ("0.ids", np.arange(3.0, dtype=np.float32)),
            ("0.ids", np.arange(3)[None]),
            ("0.logits", np.arange(5)),
            ("0.ids", np.array(["1"])),
            ("0.ids", np.array([{}], object)),
            ("1.ids", np.arange(3)),
            ("extra", np.arange(3)),
            ("sizes", np.array([3])),
            ("sizes", np.array([2, 2])),
            ("sizes", np.array([-1])),
            ("sizes", np.array([[2]])),
            ("sizes", np.array(2)),
            ("sizes", np.array([2.0], np.float32)),
            ("sizes", np.array([2**62])),
        ],
        ids=range(16),
    )
    def test_members_of_other_kinds(self, path, name, array):
        self.write(path, self.members(path) | {f"{name}.npy": self.npy(array)})
        with refused(InputError, "saved is (not )?a (damaged )?prompt cache"):
            PromptCache.load(path)

    @pytest.mark.parametrize("content", [b"", b"PK", b"nothing of the kind" * 99], ids=len)
    def test_other_files(self, path, content):
        path.write_bytes(content)
        with refused(InputError, "saved is not a prompt cache, or damaged"):
            PromptCache.load(path)

    def test_a_directory_and_no_file_at_all(self, tmp_path):
        with refused(InputError, "is not a prompt cache, or damaged"):
            PromptCache.load(tmp_path)
        with refused(InputError, "there is no file .*absent; make one with PromptCache.save"):
            PromptCache.load(tmp_path / "absent")


class TestFilesThatCannotBeWritten:
    def test_a_folder_that_does_not_exist(self, tmp_path):
        with refused(OSError, "absent/saved cannot be written: No such file or directory"):
            small_cache().save(tmp_path / "absent" / "saved")
        assert [*tmp_path.iterdir()] == []

    def test_a_folder_in_its_place(self, tmp_path):
        (tmp_path / "saved").mkdir()
        with refused(OSError, "saved cannot be written: Is a directory"):
            small_cache().save(tmp_path / "saved")
        assert [path.name for path in tmp_path.iterdir()] == ["saved"]

    def test_a_file_has_the_permissions_of_any_new_one(self, tmp_path):
        small_cache().save(tmp_path / "saved")
        (tmp_path / "other").write_bytes(b"")
        assert (tmp_path / "saved").stat().st_mode == (tmp_path / "other").stat().st_mode

    def test_a_folder_that_may_not_be_written(self, tmp_path, monkeypatch):
        """Told by the system call, as root may write anywhere."""

        def refuse(path, *arguments, **options):
            raise PermissionError(13, "Permission denied", "the temporary file")

        with monkeypatch.context() as changed:
            changed.setattr(os, "open", refuse)
            with refused(OSError, "saved cannot be written: Permission denied$"):
                small_cache().save(tmp_path / "saved")
        assert [*tmp_path.iterdir()] == []

    def test_a_disk_that_is_full_leaves_the_former_file(self, tmp_path, monkeypatch):
        small_cache(length=2).save(tmp_path / "saved")

        def savez(file, **arrays):
            file.write(b"half of it")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "savez", savez)
        with refused(OSError, "saved cannot be written: No space left on device"):
            small_cache(length=3).save(tmp_path / "saved")
        assert [path.name for path in tmp_path.iterdir()] == ["saved"]
        assert PromptCache.load(tmp_path / "saved").get_seq_length() == 2
