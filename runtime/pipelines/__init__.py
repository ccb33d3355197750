"""pipeline(): a model and its tokenizer behind one call."""
