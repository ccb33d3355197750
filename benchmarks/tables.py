"""Markdown tables of compare.py's results."""

import statistics
from collections.abc import Iterator
from typing import Any

Results = dict[str, Any]

SPEEDS = {
    "prefill_128": "prefill 128",
    "prefill_1024": "prefill 1024",
    "decode_128": "decode after 128",
    "decode_1024": "decode after 1024",
    "decode_batch_4": "decode, batch 4",
    "decode_batch_16": "decode, batch 16",
}
# Ratios that the documentation states: (ours, peer, figure).
CLAIMS = [
    ("fp32", "optimum", "decode_128"),
    ("fp32", "pytorch", "decode_128"),
    ("w8a8", "openvino8", "decode_128"),
    ("int8", "openvino8", "decode_128"),
    ("int4", "int8", "decode_128"),
    ("int4", "openvino4", "decode_128"),
    ("int8", "genai8", "decode_128"),
    ("int4", "genai4", "decode_128"),
    ("fp32", "llama", "decode_128"),
    ("int8", "llama8", "decode_128"),
    ("w8a8", "llama8", "decode_128"),
    ("int4", "llama4", "decode_128"),
    ("fp32", "llama", "prefill_1024"),
    ("w8a8", "llama8", "prefill_1024"),
    ("int4", "llama4", "prefill_1024"),
    ("w8a8", "openvino8", "prefill_1024"),
    ("w8a8", "optimum", "prefill_1024"),
    ("w8a8", "pytorch", "prefill_1024"),
]


# Engines whose products are of float32; others are held against those of 8 bits.
FLOAT32 = ("fp32", "pytorch", "optimum", "genai", "llama")


def tables(results: Results) -> str:
    """Return all tables."""
    parts = [_speeds(results), _ratios(results), _fractions(results), _costs(results)]
    return "\n".join("\n".join(part) + "\n" for part in parts)


def median(results: Results, name: str, figure: str) -> float:
    return statistics.median(figures[name][figure] for figures in results["rounds"])


def _speeds(results: Results) -> Iterator[str]:
    yield f"| tokens per second, {results['shape']} shape | {' | '.join(SPEEDS.values())} |"
    yield f"|---|{'---|' * len(SPEEDS)}"
    for name, title in results["titles"].items():
        cells = [f"{median(results, name, figure):.1f}" for figure in SPEEDS]
        yield f"| {title} | {' | '.join(cells)} |"


def _ratios(results: Results) -> Iterator[str]:
    titles = results["titles"]
    yield "| ratio of a round | median | from | to |"
    yield "|---|---|---|---|"
    for ours, peer, figure in CLAIMS:
        if ours in titles and peer in titles:
            ratios = [
                figures[ours][figure] / figures[peer][figure] for figures in results["rounds"]
            ]
            yield f"| {SPEEDS[figure]}: {titles[ours]} to {titles[peer]} | {_ratio_cells(ratios)} |"
    for name in ("int8", "w8a8", "int4"):
        if name in titles:
            ratios = [
                figures[name]["decode_batch_16"] / figures[name]["decode_128"]
                for figures in results["rounds"]
            ]
            yield f"| {titles[name]}: batch 16 to a single sequence | {_ratio_cells(ratios)} |"


def _ratio_cells(ratios: list[float]) -> str:
    """Median, least and greatest."""
    return f"{statistics.median(ratios):.2f} | {min(ratios):.2f} | {max(ratios):.2f}"


def _fractions(results: Results) -> Iterator[str]:
    bandwidth = median(results, "machine", "read_bandwidth")
    speeds = [median(results, "machine", name) for name in ("float32_speed", "int8_speed")]
    yield (
        f"The machine reads {bandwidth / 1e9:.1f} GB/s, and multiplies {speeds[0] / 1e9:.0f} "
        f"(float32) or {speeds[1] / 1e9:.0f} (8 bits) billion operations a second."
    )
    yield ""
    yield (
        "| | weights | decode after 128: share of the memory's speed "
        "| prefill 1024: share of the speed of products |"
    )
    yield "|---|---|---|---|"
    for name, title in results["titles"].items():
        size = results["weight_bytes"][name]
        shares = [
            size * figures[name]["decode_128"] / figures["machine"]["read_bandwidth"]
            for figures in results["rounds"]
        ]
        speed, bits = ("float32_speed", "") if name in FLOAT32 else ("int8_speed", ", 8 bits")
        products = statistics.median(
            results["prefill_operations"]
            * figures[name]["prefill_1024"]
            / figures["machine"][speed]
            for figures in results["rounds"]
        )
        yield (
            f"| {title} | {size / 1e9:.2f} GB | {statistics.median(shares):.2f} "
            f"| {products:.2f}{bits} |"
        )


def _costs(results: Results) -> Iterator[str]:
    yield (
        "| | export | its peak memory | import, load and first token | peak memory, one sequence "
        "of 1024 tokens |"
    )
    yield "|---|---|---|---|---|"
    for name, title in results["titles"].items():
        export = results["exports"][name]
        export_seconds = export_peak = ""
        if export:
            export_seconds = f"{export['export_seconds']:.0f} s"
            export_peak = f"{export['export_peak_bytes'] / 1e9:.1f} GB"
        started = median(results, name, "first_token_seconds")
        peak = median(results, name, "peak_bytes") / 1e9
        yield f"| {title} | {export_seconds} | {export_peak} | {started:.1f} s | {peak:.1f} GB |"
