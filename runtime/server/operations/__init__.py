"""Health, metrics, logs, keys and limits."""
