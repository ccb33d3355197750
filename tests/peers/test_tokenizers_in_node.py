"""Exported tokenizers give transformers' ids and texts in transformers.js, on drawn files.

Two things transformers.js does not have: `single_word` of added tokens, and `split_special_tokens`.
Nor does it follow a tokenizer.json that gives the token before a text the id of another one, and it
leaves out what tokenizer_config.json names as special where tokenizer.json does not.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from wild_tokenizer import END_OF_TEXT, TEXTS, Draw

from gptneo_onnx.export.tokenizer_files import write_tokenizer
from gptneo_onnx.models.special_tokens import NAMES

PROGRAM = Path(__file__).parents[1] / "support/tokenize.mjs"
DRAWS = 80


@pytest.fixture
def node_modules():
    folder = Path(os.environ.get("GPTNEO_ONNX_NODE", "nowhere")).absolute()
    if not folder.is_dir():
        pytest.skip("needs transformers.js: make test-peers installs it where there is npm")
    shutil.copyfile(PROGRAM, folder / PROGRAM.name)
    return folder


def exported(source: Path) -> Path:
    out = source.with_name(f"{source.name}-out")
    out.mkdir()
    write_tokenizer(source, out)
    shutil.copyfile(source / "config.json", out / "config.json")
    return out


def has_a_form_of_transformers_alone(directory: Path) -> bool:
    content = json.loads((directory / "tokenizer.json").read_text())
    config = json.loads((directory / "tokenizer_config.json").read_text())
    ids = {token["content"]: token["id"] for token in content["added_tokens"]}
    ids |= {text: id_ for text, id_ in content["model"]["vocab"].items() if text not in ids}
    flagged = {token["content"] for token in content["added_tokens"] if token["special"]}
    named = [config[name] for name in NAMES if config.get(name)]
    named += config.get("additional_special_tokens") or []
    texts = {token if isinstance(token, str) else token["content"] for token in named}
    around = (content["post_processor"] or {}).get("special_tokens", {})
    return (
        any(token["single_word"] for token in content["added_tokens"])
        or bool(config.get("split_special_tokens"))
        or not texts <= flagged
        or any(token["ids"] != [ids.get(text)] for text, token in around.items())
    )


def expected_of(tokenizer, text):
    ids = tokenizer.encode(text)
    return {
        "ids": ids,
        "plain": tokenizer.encode(text, add_special_tokens=False),
        "decoded": tokenizer.decode(ids),
        "skipped": tokenizer.decode(ids, skip_special_tokens=True),
    }


def test_drawn_tokenizers(node_modules, tmp_path, random):
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    peers = {}
    for number in range(DRAWS):
        directory = Draw(tmp_path / f"{number}", random).write()
        try:
            theirs = transformers.AutoTokenizer.from_pretrained(directory)
        except (ValueError, TypeError):  # add_bos_token with tokens that its template misreads
            continue
        out = exported(directory)
        if not has_a_form_of_transformers_alone(out):
            peers[str(out)] = theirs
    assert len(peers) >= 30
    done = subprocess.run(
        ["node", PROGRAM.name],
        cwd=node_modules,
        input=json.dumps({"directories": [*peers], "texts": TEXTS}),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for (out, theirs), found in zip(peers.items(), json.loads(done.stdout), strict=True):
        has_end = END_OF_TEXT in Tokenizer.from_file(f"{out}/tokenizer.json").get_vocab()
        for text, values in zip(TEXTS, found, strict=True):
            # GPT-2's class adds it to vocabularies without it; exports leave it out.
            if has_end or END_OF_TEXT not in text:
                assert values == expected_of(theirs, text), (out, text)
