"""pipeline(): a model and its tokenizer as one function from texts to results."""
