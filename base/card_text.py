"""The words of a model card that only a person can write: ``card.md`` in the pipeline's folder."""

from __future__ import annotations

import re

WRITTEN_PARTS = {
    "Purpose": "What is decided with its predictions, by whom, and what happens when it is wrong?",
    "Limits": "For which rows is it not meant, and what is known to go wrong?",
    "Ethics": "Who could be treated unfairly, and what was done about it?",
    "Licence of data": "Who owns the data, and under which terms may a model learn from them?",
    "Contact": "Whom does one ask, and who is called at night?",
}
"""What only a person can write: the headings of ``card.md``, each with its question."""

_HEADING = re.compile(r"^#+\s*(?P<name>.+?)\s*#*$", re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def read_written(text: str) -> dict[str, str]:
    """Read the parts that a person wrote: the text below each heading; comments do not count.

    Examples
    --------
    >>> read_written("# Purpose\\nPlan bikes.\\n\\n# Limits\\n<!-- none yet -->")
    {'Purpose': 'Plan bikes.'}
    """
    text = _COMMENT.sub("", text)
    headings = list(_HEADING.finditer(text))
    ends = [*(heading.start() for heading in headings), len(text)][1:]
    parts = {heading["name"]: text[heading.end() : end].strip() for heading, end in zip(headings, ends, strict=True)}
    return {name: part for name, part in parts.items() if part}


def compose_template(name: str) -> str:
    """Write the ``card.md`` that a new pipeline gets: a heading and a question for each part."""
    parts = "\n\n".join(f"# {heading}\n\n<!-- {question} -->" for heading, question in WRITTEN_PARTS.items())
    return f"<!-- What only people know of {name}; its model cards begin with these words. -->\n\n{parts}\n"
