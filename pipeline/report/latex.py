"""LaTeX that compiles whatever the names are: escaping, and tables in the style of booktabs."""

from __future__ import annotations

from collections.abc import Sequence

_ESCAPED = {
    **{character: rf"\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    # After a line's end these would be read as its options.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    # "--" and "---" are dashes, "?`" and "!`" Spanish.
    "-": "{-}",
    "`": r"\textasciigrave{}",
    "ρ": r"$\rho$",
    "τ": r"$\tau$",
    "Δ": r"$\Delta$",
    "σ": r"$\sigma$",
    "α": r"$\alpha$",
    "−": "$-$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "√": r"$\surd$",
    "²": r"$^2$",
    "–": "--",
    "—": "---",
    "’": "'",
    "‘": r"\textquoteleft{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "…": r"\ldots{}",
    "\u00a0": "~",
}
"""What LaTeX would take for something else, and what some of its fonts lack."""


def escaped(text: str) -> str:
    """Text as LaTeX prints it; line breaks and control characters are spaces."""
    return "".join(_ESCAPED.get(c, c if c.isprintable() else " ") for c in text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str, label: str) -> str:
    """A table environment; needs the package booktabs.

    Parameters
    ----------
    head : sequence of str
    rows : sequence of sequence of str
        LaTeX already; the first column is text, all others stand to the right.
    caption : str
        Escaped here.
    label : str
    """
    columns = "l" + "r" * (len(head) - 1)
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{escaped(caption)}}}",
            rf"  \label{{tab:{label}}}",
            rf"  \begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            *(f"    {' & '.join(row)} \\\\" for row in [[escaped(word) for word in head]]),
            r"    \midrule",
            *(f"    {' & '.join(row)} \\\\" for row in rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def figure(file: str, width: str, caption: str, label: str) -> str:
    """A figure environment around a file; needs the package graphicx."""
    return "\n".join(
        [
            "% needs \\usepackage{graphicx}",
            r"\begin{figure}",
            r"  \centering",
            rf"  \includegraphics[width={width}]{{{file}}}",
            rf"  \caption{{{escaped(caption)}}}",
            rf"  \label{{fig:{label}}}",
            r"\end{figure}",
            "",
        ]
    )
