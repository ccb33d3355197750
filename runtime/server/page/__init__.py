"""The page at /: type, and watch the model go on.

- router.py: its files, and the state of the queue
- files.py: the files, with what a browser may keep and load
- index.html, style.css: the page
- page.js: puts the parts below together, and generates
- document.js: the text, which tokens of it were generated, and what can be undone
- editor.js: the field, with a coloured background for each token
- alternatives.js: what the model could have said instead of a token
- completions.js: a completion that comes in parts
- settings.js: the settings that the user makes
- server_status.js: which models there are, and how busy they are
"""
