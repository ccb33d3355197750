"""Markdown tables of serve.py's results."""

from collections.abc import Iterator
from typing import Any

Results = dict[str, Any]


def tables(results: Results) -> str:
    """Return a table for each kind of load, with a row for each server."""
    parts = [_clients(results), _rates(results), _failures(results)]
    return "\n".join("\n".join(part) + "\n" for part in parts)


def _clients(results: Results) -> Iterator[str]:
    counts = [*next(iter(results["servers"].values()))["clients"]]
    yield (
        f"| {results['shape']} shape, {results['threads']} threads | "
        + " | ".join(f"tokens/s, {_clients_of(count)}" for count in counts)
        + f" | first token, {_clients_of(counts[-1])}, p50 / p95 / p99 "
        f"| between tokens, p50 / p95 / p99 | memory |"
    )
    yield f"|---|{'---|' * (len(counts) + 3)}"
    for server in results["servers"].values():
        runs = server["clients"]
        speeds = [f"{runs[count]['tokens_per_second']:.0f}" for count in counts]
        last = runs[counts[-1]]
        cells = [*speeds, _times(last, "first_token"), _times(last, "between_tokens")]
        yield f"| {server['title']} | {' | '.join(cells)} | {server['peak_bytes'] / 1e9:.1f} GB |"


def _clients_of(count: str) -> str:
    return f"{count} client" if count == "1" else f"{count} clients"


def _rates(results: Results) -> Iterator[str]:
    rates = [*next(iter(results["servers"].values()))["rates"]]
    if not rates:
        return
    yield (
        "| requests that arrive at random | "
        + " | ".join(
            f"{rate}/s: tokens/s | first token, p50 / p95 | between tokens, p50 / p95"
            for rate in rates
        )
        + " |"
    )
    yield f"|---|{'---|' * (3 * len(rates))}"
    for server in results["servers"].values():
        cells = []
        for rate in rates:
            run = server["rates"][rate]
            cells += [f"{run['tokens_per_second']:.0f}"]
            cells += [_times(run, name, 2) for name in ("first_token", "between_tokens")]
        yield f"| {server['title']} | {' | '.join(cells)} |"


def _times(run: Results, name: str, count: int = 3) -> str:
    values = [*run.get(name, {}).values()][:count]
    return " / ".join(_seconds(value) for value in values) or "-"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 1 else f"{1000 * value:.0f} ms"


def _failures(results: Results) -> Iterator[str]:
    shares = []
    for server in results["servers"].values():
        runs = [*server["clients"].values(), *server["rates"].values()]
        shares += [run["load_share"] for run in runs]
        failed = sum(run["failed"] for run in runs)
        if failed:
            yield f"{server['title']}: {failed} requests failed."
    yield f"The load generator took at most {100 * max(shares):.0f}% of a core."
