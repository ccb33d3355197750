"""Health, metrics, logs, keys and limits: what a server needs besides its endpoints.

- listener.py, protocol.py: the socket; connections that send or read too slowly
- state.py, health.py, draining.py: whether requests are taken
- request_log.py, request_record.py, log_format.py: a line for each request
- trace_context.py, tracing.py: W3C's trace context, OpenTelemetry's spans
- metrics.py, scheduler_metrics.py, observed_engine.py: what Prometheus reads
- keys.py, request_limits.py, json_depth.py: who may ask, and how much
- refusals.py: answers of the middleware
"""
