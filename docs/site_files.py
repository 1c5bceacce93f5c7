"""A hook of mkdocs: what pages link to outside docs/ (records, pictures, examples, CONTRIBUTING.md) comes along."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("CONTRIBUTING.md", "CHANGELOG.md")
"""Of the root, as pages of the site."""
LINK = re.compile(r"(\]\()([^)\s#]+)([^)\s]*\))")


def place(target: str, page: str) -> str:
    """A link of a page as the path of what it means, from the root of the repository."""
    folder = "" if page in PAGES else posixpath.dirname(f"docs/{page}")
    return posixpath.normpath(posixpath.join(folder, target))


def in_site(path: str) -> str:
    """The path from the root of the repository as one from the site's."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if (ROOT / path).is_dir():
        return f"files/{path}/index.md"
    return path if path in PAGES else f"files/{path}"


def is_local(target: str) -> bool:
    """Whether a link is to a file."""
    return "://" not in target and not target.startswith("mailto:")


def listing(path: str) -> str:
    """A page for a folder: the names of what is in it."""
    inside = sorted(p for p in (ROOT / path).iterdir() if not p.name.startswith((".", "__")))
    names = [f"- [{p.name}]({p.name}{'/index.md' if p.is_dir() else ''})" for p in inside]
    return "\n".join([f"# {path}", "", *names, ""])


def add(files: Files, config: MkDocsConfig, path: str) -> None:
    """``path``, and all that is in it if it is a folder."""
    name = in_site(path)
    if files.get_file_from_path(name) is not None or not (ROOT / path).exists():
        return  # what is not there the link checker reports
    if (ROOT / path).is_dir():
        files.append(File.generated(config, name, content=listing(path)))
        for inside in sorted((ROOT / path).iterdir()):
            if not inside.name.startswith((".", "__")):
                add(files, config, f"{path}/{inside.name}")
    else:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of the root, and every file that a page links to."""
    for name in PAGES:
        add(files, config, name)
    for file in list(files.documentation_pages()):
        for _, target, _ in LINK.findall(file.content_string):
            path = place(target, file.src_uri)
            if is_local(target) and (not path.startswith("docs/")):
                add(files, config, path)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as they are in the site. Pages that this file wrote have them already."""
    source = page.file.src_uri
    if source.startswith("files/"):
        return markdown

    def rewrite(match: re.Match[str]) -> str:
        before, target, after = match.groups()
        if not is_local(target):
            return match[0]
        there = posixpath.relpath(in_site(place(target, source)), posixpath.dirname(source) or ".")
        return f"{before}{there}{after}"

    return LINK.sub(rewrite, markdown)
