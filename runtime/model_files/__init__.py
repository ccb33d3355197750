"""Opening a model directory, with every file checked before anything runs."""
