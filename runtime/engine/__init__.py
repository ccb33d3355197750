"""Steps of a model: token ids in, logits out."""
