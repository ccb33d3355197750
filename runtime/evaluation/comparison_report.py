"""A comparison as an HTML page: figures, curves, and the places where the models differ most."""

import math
from collections.abc import Callable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.documents import counted
from gptneo_onnx.runtime.evaluation.comparison import Comparison, Difference
from gptneo_onnx.runtime.evaluation.line_chart import Line, legend, line_chart

# Points of a curve, at most, and tokens that each point averages, at least.
_MAX_POINTS, _MIN_TOKENS_PER_POINT = 100, 16

Column = NDArray[np.float64]
Reduction = Callable[[Column], float]

_STYLE = """
:root { color-scheme: light; --ink: #1f2937; --faint: #6b7280; --rule: #e5e7eb; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 900px;
  margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2.25rem 0 .25rem; }
p, .note { color: var(--faint); margin: .25rem 0 .75rem; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; }
td, th { padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
.figures td:not(:first-child), .figures th:not(:first-child) { text-align: right;
  font-variant-numeric: tabular-nums; }
td.choices, td.choices code { white-space: pre; }
svg { width: 100%; height: auto; } svg text { font-size: 12px; fill: var(--faint); }
svg .end { text-anchor: end; } svg .middle { text-anchor: middle; }
svg .grid { stroke: var(--rule); fill: none; }
.key::before { content: ""; display: inline-block; width: 18px; height: 3px;
  background: var(--color); vertical-align: middle; margin-right: 6px; }
.key { margin-right: 1.25rem; }
code { font: 13px/1.45 ui-monospace, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; } mark { background: #fde68a; }
"""


def comparison_page(comparison: Comparison, names: tuple[str, str]) -> str:
    """Return an HTML page that loads nothing else.

    Args:
        comparison: what to show.
        names: those of the two models.
    """
    first, second = map(escape, names)
    sections = [
        f"<h1>{second} beside {first}</h1>",
        f"<p>{counted(comparison.tokens, 'token')} of {counted(comparison.documents)}</p>",
        _figures(comparison, names),
        *_curves(comparison, names),
        _places(comparison.largest, names),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{second} beside {first}'
        f"</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def figures(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Return (figure, value of the first model, of the second or of both), formatted to be read."""
    values = comparison.as_dict()
    change, error = comparison.perplexity_change
    margin = "" if math.isnan(error) else f" ± {error:.3%}"
    (ppl, other_ppl), (bits, other_bits) = comparison.token_perplexity, comparison.bits_per_byte
    return [
        ("token perplexity", f"{ppl:.4f}", f"{other_ppl:.4f}"),
        ("perplexity, change", "", f"{change:+.3%}{margin}"),
        ("bits per byte", f"{bits:.4f}", f"{other_bits:.4f}"),
        ("divergence, mean", "", f"{values['mean_divergence']:.3g}"),
        ("divergence, median", "", f"{values['median_divergence']:.3g}"),
        ("divergence, 99%", "", f"{values['divergence_99']:.3g}"),
        ("divergence, most", "", f"{values['max_divergence']:.3g}"),
        ("same first choice", "", f"{values['agreement']:.2%}"),
    ]


def _figures(comparison: Comparison, names: tuple[str, str]) -> str:
    rows = "".join(
        f"<tr><td>{figure}</td><td>{first}</td><td>{second}</td></tr>"
        for figure, first, second in figures(comparison)
    )
    first, second = map(escape, names)
    return (
        f'<table class="figures"><tr><th></th><th>{first}</th><th>{second}</th></tr>{rows}</table>'
        "<p>The divergence is Kullback and Leibler's, of what the second model expects next from "
        "what the first expects, in nats: 0 where they expect the same.</p>"
    )


def _curves(comparison: Comparison, names: tuple[str, str]) -> list[str]:
    divergences = comparison.divergences
    context = comparison.context.astype(np.float64)
    order = np.argsort(context, kind="stable")
    place = np.arange(comparison.tokens, dtype=np.float64)

    def by_context(column: Column, reduce: Reduction) -> list[tuple[float, float]]:
        return _points(context[order], column[order], reduce)

    divergence_by_context = [
        Line("mean", by_context(divergences, _mean)),
        Line("most", by_context(divergences, _greatest)),
    ]
    loss_by_context = [
        Line(name, by_context(column, _mean))
        for name, column in zip(names, comparison.losses, strict=True)
    ]
    divergence_by_place = [
        Line("mean", _points(place, divergences, _mean)),
        Line("most", _points(place, divergences, _greatest)),
    ]
    x_label, y_label = "tokens that the models have read before", "nats"
    return [
        "<h2>Divergence by context</h2>",
        legend(divergence_by_context),
        line_chart(divergence_by_context, x_label, y_label, logarithmic=True),
        "<h2>Loss by context</h2>",
        legend(loss_by_context),
        line_chart(loss_by_context, x_label, y_label),
        "<h2>Divergence through the texts</h2>",
        legend(divergence_by_place),
        line_chart(divergence_by_place, "token", y_label, logarithmic=True),
    ]


def _mean(column: Column) -> float:
    return float(column.mean())


def _greatest(column: Column) -> float:
    return float(column.max())


def _points(x: Column, y: Column, reduce: Reduction) -> list[tuple[float, float]]:
    """Reduce runs of equally many tokens, in the order of x, to points (mean x, reduced y)."""
    count = max(1, min(_MAX_POINTS, len(x) // _MIN_TOKENS_PER_POINT))
    return [
        (_mean(xs), reduce(ys))
        for xs, ys in zip(np.array_split(x, count), np.array_split(y, count), strict=True)
    ]


def _places(largest: Sequence[Difference], names: tuple[str, str]) -> str:
    first, second = map(escape, names)
    rows = "".join(
        f"<tr><td>{place.divergence:.3g}</td><td><code>{_shown(place.before)}<mark>"
        f"{_shown(place.actual)}</mark></code><br><span class='note'>{escape(place.source)}, token "
        f"{place.token:,}</span></td>"
        + "".join(f'<td class="choices">{_choices(choices)}</td>' for choices in place.choices)
        + "</tr>"
        for place in largest
    )
    return (
        "<h2>Where they differ most</h2><table><tr><th>nats</th><th>text, and what comes next</th>"
        f"<th>{first}</th><th>{second}</th></tr>{rows}</table>"
    )


def _choices(choices: Sequence[tuple[str, float]]) -> str:
    return "<br>".join(f"<code>{_shown(token)}</code> {share:.1%}" for token, share in choices)


def _shown(text: str) -> str:
    """Escape a text, and make its line ends visible."""
    return escape(text.replace("\n", "⏎"))
