"""The embedded checkpoint: a small GPT-Neo trained on Jane Austen (see its README)."""

from pathlib import Path

EMBEDDED_CHECKPOINT = Path(__file__).parent / "tiny"
