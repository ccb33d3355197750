"""What generate() is made of: configs, logits processors, strategies, stopping, streaming."""
