"""Train the embedded checkpoint, models/tiny, on four novels by Jane Austen.

    python examples/train_tiny/train.py --work build/tiny --out models/tiny

Needs torch and transformers, and takes three quarters of an hour on two cores. Seeded; resumes from
the last state in --work when it is started again. The fifth novel is not trained on: the model
card's figure is measured on it.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from data import END_OF_TEXT, HELD_OUT, epoch_batches, read_novel, train_tokenizer, training_tokens
from tokenizers import Tokenizer
from transformers import GPTNeoConfig, GPTNeoForCausalLM
from transformers.models.gpt_neo.modeling_gpt_neo import GPTNeoSelfAttention

SEED = 1775
CONTEXT = 512
CONFIG: dict[str, Any] = {
    "vocab_size": 4096,
    "hidden_size": 256,
    "num_layers": 6,
    "num_heads": 4,
    "attention_types": [[["global", "local"], 3]],
    "window_size": 64,
    "max_position_embeddings": CONTEXT,
}
BATCH = 8
LOG_EVERY = 100
BPE_DROPOUT = 0.1
# The share of epochs, at the end, without BPE dropout: text is split as at inference.
PLAIN_EPOCHS = 0.25


class FusedAttention(GPTNeoSelfAttention):
    """PyTorch's fused attention in training, twice as fast as the original's products."""

    def _attn(self, query, key, value, attention_mask=None, head_mask=None):  # type: ignore[no-untyped-def]
        if not self.training:
            return super()._attn(query, key, value, attention_mask, head_mask)
        length = query.shape[2]
        visible = self.bias[:, :, :length, :length]
        output = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=visible, scale=1.0
        )
        return output, None


def build_model(end_of_text: int, dropout: float) -> GPTNeoForCausalLM:
    torch.manual_seed(SEED)
    config = GPTNeoConfig(
        **CONFIG,
        bos_token_id=end_of_text,
        eos_token_id=end_of_text,
        resid_dropout=dropout,
        embed_dropout=dropout,
    )
    model = GPTNeoForCausalLM(config)
    for block in model.transformer.h:
        block.attn.attention.__class__ = FusedAttention
    return model


def build_optimizers(model: GPTNeoForCausalLM) -> list[torch.optim.Optimizer]:
    """Return Muon for the blocks' matrices (fewer steps than AdamW), and AdamW for the rest."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and ".h." in n]
    embeddings = [p for n, p in model.named_parameters() if p.ndim == 2 and ".h." not in n]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    muon = torch.optim.Muon(
        matrices, lr=2e-3, weight_decay=0.2, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    adamw = torch.optim.AdamW(
        [
            {"params": embeddings, "weight_decay": 0.1},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=2e-3,
        betas=(0.9, 0.98),
    )
    return [muon, adamw]


def learning_rate_scale(progress: float) -> float:
    """Return the schedule's factor: warm-up over the first 2%, then a cosine down to 0."""
    return min(progress / 0.02, 0.5 * (1 + math.cos(math.pi * progress)))


@torch.no_grad()
def bits_per_byte(
    model: GPTNeoForCausalLM, tokenizer: Tokenizer, text: str, limit: int | None = None
) -> float:
    """Measure in disjoint windows of the context; the first token is predicted from end-of-text."""
    model.eval()
    ids = [tokenizer.token_to_id(END_OF_TEXT), *tokenizer.encode(text).ids]
    windows = [ids[start : start + CONTEXT + 1] for start in range(0, len(ids) - 1, CONTEXT)][
        :limit
    ]
    nats = 0.0
    for window in windows:
        tokens = torch.tensor([window])
        logits = model(tokens[:, :-1]).logits[0]
        nats += torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="sum").item()
    predicted = [token for window in windows for token in window[1:]]
    model.train()
    return nats / math.log(2) / len(tokenizer.decode(predicted).encode())


class Run:
    """One training run; state() is everything that a resumed run needs."""

    def __init__(self, tokenizer: Tokenizer, epochs: int, dropout: float, work: Path) -> None:
        self.tokenizer, self.epochs, self.work = tokenizer, epochs, work
        self.model = build_model(tokenizer.token_to_id(END_OF_TEXT), dropout)
        self.optimizers = build_optimizers(self.model)
        self.peaks = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.epoch = 0
        self.tokens = 0
        self.curve: list[tuple[int, float, float]] = []  # tokens seen, training loss, held-out bpb

    def state(self) -> dict[str, object]:
        return {
            "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "random": torch.get_rng_state(),
            "epoch": self.epoch,
            "tokens": self.tokens,
            "curve": self.curve,
        }

    def save(self) -> None:
        partial = self.work / "state.partial"
        torch.save(self.state(), partial)
        partial.rename(self.work / "state.pt")

    def resume(self) -> None:
        path = self.work / "state.pt"
        if not path.exists():
            return
        state = torch.load(path)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["random"])
        self.epoch, self.tokens, self.curve = state["epoch"], state["tokens"], state["curve"]

    def set_learning_rate(self, progress: float) -> None:
        scale = learning_rate_scale(progress)
        for optimizer, peaks in zip(self.optimizers, self.peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * scale

    def step(self, batch: torch.Tensor) -> float:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = self.model(batch[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), batch[:, 1:].flatten()
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return loss.item()

    def run_epoch(self) -> None:
        plain = self.epoch >= self.epochs * (1 - PLAIN_EPOCHS)
        seed = SEED + self.epoch
        stream = training_tokens(self.tokenizer, 0.0 if plain else BPE_DROPOUT, seed)
        batches = list(epoch_batches(stream, BATCH, CONTEXT, seed))
        started = time.monotonic()
        losses = []
        for index, batch in enumerate(batches):
            self.set_learning_rate((self.epoch + (index + 1) / len(batches)) / self.epochs)
            losses.append(self.step(batch))
            self.tokens += batch.shape[0] * CONTEXT
            if (index + 1) % LOG_EVERY == 0:
                recent = sum(losses[-LOG_EVERY:]) / LOG_EVERY
                print(f"  step {index + 1}/{len(batches)}: loss {recent:.3f}", flush=True)
        self.epoch += 1
        held_out = bits_per_byte(self.model, self.tokenizer, read_novel(HELD_OUT), limit=40)
        self.curve.append((self.tokens, sum(losses) / len(losses), held_out))
        print(
            f"epoch {self.epoch}/{self.epochs}: {self.tokens / 1e6:.1f} M tokens, "
            f"loss {self.curve[-1][1]:.3f}, held-out {held_out:.3f} bits per byte, "
            f"{time.monotonic() - started:.0f} s",
            flush=True,
        )


def load_tokenizer(work: Path) -> Tokenizer:
    path = work / "tokenizer.json"
    if not path.exists():
        train_tokenizer(CONFIG["vocab_size"]).save(str(path))
    return Tokenizer.from_file(str(path))


def write_checkpoint(run: Run, out: Path) -> None:
    """Write the Hugging Face layout in float16, with training's dropout set to 0 in the config."""
    out.mkdir(parents=True, exist_ok=True)
    bpb = bits_per_byte(run.model, run.tokenizer, read_novel(HELD_OUT))
    model = run.model
    model.config.update({"resid_dropout": 0.0, "embed_dropout": 0.0})
    model.half().save_pretrained(out)
    run.tokenizer.save(str(out / "tokenizer.json"))
    tokenizer_config = {
        "tokenizer_class": "GPT2TokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
        "add_prefix_space": False,
        "model_max_length": CONTEXT,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(tokenizer_config, indent=2) + "\n")
    report = {"bits_per_byte": bpb, "tokens": run.tokens, "epochs": run.epochs, "curve": run.curve}
    (out / "training.json").write_text(json.dumps(report) + "\n")
    print(f"{HELD_OUT}.txt: {bpb:.4f} bits per byte after {run.tokens / 1e6:.1f} M tokens")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="where the run's state is kept")
    parser.add_argument("--out", type=Path, required=True, help="where the checkpoint is written")
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--stop-after", type=int, help="stop early, to go on another time")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)  # unscaled attention scores make softmax emit denormals

    run = Run(load_tokenizer(arguments.work), arguments.epochs, arguments.dropout, arguments.work)
    run.resume()
    while run.epoch < run.epochs:
        if arguments.stop_after is not None and run.epoch >= arguments.stop_after:
            return
        run.run_epoch()
        run.save()
    write_checkpoint(run, arguments.out)


if __name__ == "__main__":
    main()
