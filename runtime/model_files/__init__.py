"""A model directory, checked before anything runs."""
