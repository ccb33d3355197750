"""A comparison as an HTML page: figures, curves, and the places where the models differ most."""

import math
import re
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.documents import counted
from gptneo_onnx.runtime.evaluation.comparison import Comparison, Difference
from gptneo_onnx.runtime.evaluation.line_chart import Line, legend, line_chart

# Points of a curve, at most, and tokens that each point averages, at least.
_MAX_POINTS, _MIN_TOKENS_PER_POINT = 100, 16

Column = NDArray[np.float64]
Reduction = Callable[[Column], float]

# (what, of the first model, of the second or of both)
Row = tuple[str, str, str]

_STYLE = Path(__file__).with_name("comparison.css")


def comparison_page(
    comparison: Comparison,
    names: tuple[str, str],
    models: Sequence[Row] = (),
    run: Sequence[str] = (),
) -> str:
    """Return an HTML page that loads nothing else.

    Args:
        comparison: what to show.
        names: those of the two models.
        models: facts about them, each with its values, to stand above the figures.
        run: what to say of the comparison itself: when it was made, and by which versions.
    """
    first, second = map(escape, names)
    read = f"{counted(comparison.tokens, 'token')} of {counted(comparison.documents)}"
    sections = [
        f"<h1>{second} beside {first}</h1>",
        f"<p>{escape(' · '.join([read, *run]))}</p>",
        _figures(comparison, names, models),
        *_curves(comparison, names),
        _places(comparison.largest, names),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{second} beside {first}</title>\n<style>\n{_STYLE.read_text(encoding='utf-8')}"
        "</style></head>\n<body>\n" + "\n".join(sections) + "\n</body></html>\n"
    )


def figures(comparison: Comparison) -> list[Row]:
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
        ("divergence, 99th percentile", "", f"{values['divergence_99']:.3g}"),
        ("divergence, maximum", "", f"{values['max_divergence']:.3g}"),
        ("same first choice", "", f"{values['agreement']:.2%}"),
    ]


def _figures(comparison: Comparison, names: tuple[str, str], models: Sequence[Row]) -> str:
    first, second = map(escape, names)
    return (
        f'<table class="figures"><thead><tr><td></td><th scope="col">{first}</th>'
        f'<th scope="col">{second}</th></tr></thead>'
        f"{_group('Models', models)}{_group('Figures', figures(comparison))}</table>"
        "<p>The divergence is Kullback and Leibler's, of what the second model expects next from "
        "what the first expects, in nats: 0 where they expect the same.</p>"
    )


def _group(title: str, rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    cells = "".join(
        f'<tr><th scope="row">{escape(what)}</th><td>{_breakable(first)}</td>'
        f"<td>{_breakable(second)}</td></tr>"
        for what, first, second in rows
    )
    heading = f'<tr class="group"><th colspan="3" scope="rowgroup">{title}</th></tr>'
    return f"<tbody>{heading}{cells}</tbody>"


def _breakable(text: str) -> str:
    """Escape a text, and let a narrow column break names such as CPUExecutionProvider."""
    return re.sub(r"(?<=[A-Za-z])(?=[A-Z][a-z])", "<wbr>", escape(text))


def _curves(comparison: Comparison, names: tuple[str, str]) -> list[str]:
    divergences = comparison.divergences
    context = comparison.context.astype(np.float64)
    order = np.argsort(context, kind="stable")
    place = np.arange(comparison.tokens, dtype=np.float64)

    def by_context(column: Column, reduce: Reduction) -> list[tuple[float, float]]:
        return _points(context[order], column[order], reduce)

    divergence_by_context = [
        Line("mean", by_context(divergences, _mean)),
        Line("maximum", by_context(divergences, _greatest)),
    ]
    loss_by_context = [
        Line(name, by_context(column, _mean))
        for name, column in zip(names, comparison.losses, strict=True)
    ]
    divergence_by_place = [
        Line("mean", _points(place, divergences, _mean)),
        Line("maximum", _points(place, divergences, _greatest)),
    ]
    change = comparison.losses[1] - comparison.losses[0]
    change_by_context = [Line(f"{names[1]} minus {names[0]}", by_context(change, _mean))]
    x_label, y_label = "tokens that the models have read before", "nats"
    return [
        "<h2>Divergence by context</h2>",
        legend(divergence_by_context),
        line_chart(divergence_by_context, x_label, y_label, logarithmic=True),
        "<h2>Loss by context</h2>",
        legend(loss_by_context),
        line_chart(loss_by_context, x_label, y_label),
        "<h2>Difference of the losses by context</h2>",
        legend(change_by_context),
        line_chart(change_by_context, x_label, y_label, zero_line=True),
        "<p>Above the line at 0, the second model expects the texts less than the first.</p>",
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
        f'<tr><td class="nats">{place.divergence:.3g}</td><td class="text">'
        f"<code>{_shown(place.before)}<mark>{_shown(place.actual)}</mark></code>"
        f'<br><span class="note">{escape(place.source)}, token {place.token:,}</span></td>'
        + "".join(
            f'<td class="choices" data-model="{escape(name)}">{_choices(choices)}</td>'
            for name, choices in zip(names, place.choices, strict=True)
        )
        + "</tr>"
        for place in largest
    )
    return (
        '<h2>Where they differ most</h2><table class="places"><thead><tr><th scope="col">nats</th>'
        '<th scope="col">text, and what comes next</th>'
        f'<th scope="col" class="model">{first}</th><th scope="col" class="model">{second}</th>'
        f"</tr></thead><tbody>{rows}</tbody></table>"
    )


def _choices(choices: Sequence[tuple[str, float]]) -> str:
    return "".join(
        f'<span class="choice"><code>{_shown(token)}</code> {share:.1%}</span>'
        for token, share in choices
    )


def _shown(text: str) -> str:
    """Escape a text, and make its line ends visible."""
    return escape(text.replace("\n", "⏎"))
