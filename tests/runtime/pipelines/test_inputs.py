"""What pipelines take as inputs: anything that holds texts."""

import numpy as np
import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime import pipeline

TEXTS = ["She was", "It is a truth universally", "Sir"]
ARGUMENTS = {"max_new_tokens": 4, "seed": 1}


class Numbered:
    """A data set with a length and numbered items, as torch's and transformers' KeyDataset are."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Loader:
    """Gives batches of texts, as a DataLoader does."""

    def __len__(self):
        return 2

    def __iter__(self):
        yield TEXTS[:2]
        yield tuple(TEXTS[2:])


@pytest.fixture(scope="module")
def generator(embedded_export):
    return pipeline("text-generation", embedded_export)


@pytest.fixture(scope="module")
def expected(generator):
    return generator(TEXTS, **ARGUMENTS)


@pytest.mark.parametrize("texts", [tuple(TEXTS), np.array(TEXTS), dict.fromkeys(TEXTS).keys()])
def test_several_texts_in_any_form(generator, expected, texts):
    assert generator(texts, batch_size=2, **ARGUMENTS) == expected


@pytest.mark.parametrize("texts", [Numbered(TEXTS), iter(TEXTS), (each for each in TEXTS)])
def test_data_sets_and_iterators_are_read_as_results_are_asked_for(generator, expected, texts):
    results = generator(texts, **ARGUMENTS)
    assert iter(results) is results
    assert list(results) == expected


def test_batches_have_their_results_together(generator, expected):
    assert generator(Loader(), **ARGUMENTS) == [expected[:2], expected[2:]]
    assert generator(Loader(), batch_size=3, **ARGUMENTS) == [expected[:2], expected[2:]]
    assert list(generator(iter(["She was", ["Sir"]]), **ARGUMENTS))[1] == [expected[2]]


def test_columns_of_a_data_set(generator, expected):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"text": TEXTS})
    assert list(generator(rows["text"], **ARGUMENTS)) == expected
    assert [generator(row["text"], **ARGUMENTS) for row in rows] == expected


def test_rows_of_a_data_set_say_to_take_a_column(generator):
    with pytest.raises(InputError, match=r"type dict; .* pass a column, dataset\['text'\]"):
        list(generator(iter([{"text": "She"}]), **ARGUMENTS))


@pytest.mark.parametrize("inputs", [3, None, b"She", {"text": "She"}])
def test_what_holds_no_texts(generator, embedded_export, inputs):
    with pytest.raises(InputError, match="prompts are of type .*; a text or several are expected"):
        generator(inputs)
    with pytest.raises(InputError, match="the input is of type .*; a text or several are expect"):
        pipeline("feature-extraction", embedded_export)(inputs)


def test_features_of_data_sets_and_batches(embedded_export):
    extractor = pipeline("feature-extraction", embedded_export, pooling="mean")
    expected = extractor(TEXTS)
    assert list(extractor(Numbered(TEXTS))) == expected
    assert extractor(Loader()) == [expected[:2], expected[2:]]
