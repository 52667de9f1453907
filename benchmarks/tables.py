"""Figures as tables of markdown, and pages that have a place for them."""

from __future__ import annotations

from pathlib import Path

from perennial.errors import UserError


def markdown_table(lines: list[list[str]]) -> str:
    """Lines of cells as a table of markdown; the first is the head, the first column names."""
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in [lines[0], rule, *lines[1:]]
    )


def marks(section: str) -> tuple[str, str]:
    """The lines of a page between which the figures of a section go."""
    return f"<!-- {section}: begin -->", f"<!-- {section}: end -->"


def check_page(page: Path, section: str) -> tuple[str, str]:
    """Return what stands before and after a section's figures; UserError where it has no marks."""
    try:
        text = page.read_text("utf-8")
    except OSError as error:
        raise UserError(f"{page} cannot be read ({error.strerror}); name a page.") from error
    begin, end = marks(section)
    head, found, rest = text.partition(begin)
    _, found_end, tail = rest.partition(end)
    if not found or not found_end:
        raise UserError(
            f"{page} lacks the lines {begin} and {end}, between which the figures go; add them."
        )
    return head, tail


def replace_section(page: Path, section: str, text: str) -> None:
    """Put a text between the marks of a page; UserError where the page does not have them."""
    head, tail = check_page(page, section)
    begin, end = marks(section)
    page.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}", "utf-8")
