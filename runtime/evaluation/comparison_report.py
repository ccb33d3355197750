"""A comparison as a page to look at: figures, curves, and the places where models differ most."""

import math
from collections.abc import Callable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.documents import counted
from gptneo_onnx.runtime.evaluation.comparison import Comparison, Difference
from gptneo_onnx.runtime.evaluation.line_chart import Line, legend, line_chart

# Points of a curve, at the most, and tokens that each stands for, at the least.
_POINTS, _TOKENS_A_POINT = 100, 16

Column = NDArray[np.float64]

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
    """HTML that needs nothing but itself.

    Args:
        comparison: what was found.
        names: of the models.
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
    """(what, of the first model, of the second or of both) in words for people."""
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
        f"<tr><td>{what}</td><td>{first}</td><td>{second}</td></tr>"
        for what, first, second in figures(comparison)
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
    mean, most = (lambda part: float(part.mean())), (lambda part: float(part.max()))

    def by_context(column: Column, of: Callable[[Column], float]) -> list[tuple[float, float]]:
        return _curve(context[order], column[order], of)

    far = [
        Line("mean", by_context(divergences, mean)),
        Line("most", by_context(divergences, most)),
    ]
    losses = [
        Line(name, by_context(column, mean))
        for name, column in zip(names, comparison.losses, strict=True)
    ]
    along = [
        Line("mean", _curve(place, divergences, mean)),
        Line("most", _curve(place, divergences, most)),
    ]
    read, nats = "tokens that the models have read before", "nats"
    return [
        "<h2>Divergence by context</h2>",
        legend(far),
        line_chart(far, read, nats, logarithmic=True),
        "<h2>Loss by context</h2>",
        legend(losses),
        line_chart(losses, read, nats),
        "<h2>Divergence through the texts</h2>",
        legend(along),
        line_chart(along, "token", nats, logarithmic=True),
    ]


def _curve(x: Column, y: Column, of: Callable[[Column], float]) -> list[tuple[float, float]]:
    """Points (mean x, `of` y) of as many tokens each, in the order of x."""
    count = max(1, min(_POINTS, len(x) // _TOKENS_A_POINT))
    return [
        (float(xs.mean()), of(ys))
        for xs, ys in zip(np.array_split(x, count), np.array_split(y, count), strict=True)
    ]


def _places(largest: Sequence[Difference], names: tuple[str, str]) -> str:
    first, second = map(escape, names)
    rows = "".join(
        f"<tr><td>{each.divergence:.3g}</td><td><code>{_shown(each.before)}<mark>"
        f"{_shown(each.actual)}</mark></code><br><span class='note'>{escape(each.source)}, token "
        f"{each.token:,}</span></td>"
        + "".join(f'<td class="choices">{_choices(choices)}</td>' for choices in each.choices)
        + "</tr>"
        for each in largest
    )
    return (
        "<h2>Where they differ most</h2><table><tr><th>nats</th><th>text, and what comes next</th>"
        f"<th>{first}</th><th>{second}</th></tr>{rows}</table>"
    )


def _choices(choices: Sequence[tuple[str, float]]) -> str:
    return "<br>".join(f"<code>{_shown(token)}</code> {share:.1%}" for token, share in choices)


def _shown(text: str) -> str:
    """Line ends are seen."""
    return escape(text.replace("\n", "⏎"))
