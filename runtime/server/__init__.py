"""An HTTP server with OpenAI's API; needs the extra `serve`.

- app.py: puts the application together
- settings.py: what a server may be told
- served_model.py: a model with its tokenizer and its engine; which of them a request means
- errors.py: errors in OpenAI's form
- api/: the endpoints, a file for each; schemas/: what they take and return
- operations/: health, metrics, logs, keys, limits
- page/: the page at /
"""
