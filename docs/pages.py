"""What the site has besides docs/*.md: pages from elsewhere, and links that find them.

`make docs` runs it inside MkDocs. The same Markdown is read in the repository, where a
link leads to a file, and on the site, where it leads to a page.
"""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

from robustjax.cli.verbs import VERBS

ROOT = Path(__file__).parents[1]

# Files elsewhere in the project -> their pages.
ELSEWHERE = {
  "README.md": "index.md",
  "CHANGELOG.md": "changelog.md",
  "CONTRIBUTING.md": "contributing.md",
  "SECURITY.md": "security.md",
  "benchmarks/README.md": "benchmarks.md",
  "launch/README.md": "launch.md",
  "robustjax/weights/shipped.md": "shipped.md",
  "docs/first_look.ipynb": "first_look.md",
}
# What has a --help of its own behind a verb.
_BELOW = {"weights": ("import", "export")}

_FLAG = re.compile(r"(?<![\w-])--[\w.]+")
_INLINE = re.compile(r"<code>.*?</code>", re.DOTALL)
_PICTURE = re.compile(r'<img [^>]*?src="([^"]+)"[^>]*>')
_DRAWN = re.compile(r"\(data:image/png;base64,([^)]+)\)")
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
  """Adds the pages; MkDocs calls it when it has listed docs/."""
  from mkdocs.structure.files import File

  made = {page: _content(ROOT / source) for source, page in ELSEWHERE.items()}
  made["commands.md"] = commands()
  made["first_look.md"], pictures = apart(made["first_look.md"], "first_look")
  for page, content in {**made, **pictures}.items():
    files.append(File.generated(config, page, content=content))
  return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
  """Turns links to files into links to pages; MkDocs calls it for each page."""
  # CommonMark lets an & be escaped, and what MkDocs reads with does not.
  return linked(markdown, page.file.src_uri).replace("\\&", "&amp;")


def on_page_content(html: str, **_: Any) -> str:
  """Fits a page for narrow screens; MkDocs calls it for each page."""
  return fitted(html)


def fitted(html: str) -> str:
  """HTML in which a picture opens alone, to be read, and no flag is broken."""
  html = _PICTURE.sub(r'<a href="\1">\g<0></a>', html)
  flag = r'<span class="flag">\g<0></span>'
  return _INLINE.sub(lambda code: _FLAG.sub(flag, code[0]), html)


def linked(markdown: str, page: str) -> str:
  """A page's text, whose links lead to pages.

  Args:
    markdown: with links as the repository has them.
    page: its name on the site, such as "mini_study/report.md".

  Returns:
    The same, where a link to a file that is no page is its name alone. A link to
    nothing is left, for MkDocs to refuse.
  """
  sources = {name: source for source, name in ELSEWHERE.items()}
  here = os.path.dirname(sources.get(page, f"docs/{page}"))

  def link(match: re.Match[str]) -> str:
    picture, text, target, anchor = match.groups(default="")
    path = os.path.normpath(os.path.join(here, target))
    to = ELSEWHERE.get(path, path.removeprefix("docs/"))
    if to == path and (ROOT / path).exists():
      return text if "`" in text else f"`{text}`"
    return f"{picture}[{text}]({os.path.relpath(to, os.path.dirname(page))}{anchor})"

  return LINK.sub(link, markdown)


def _content(path: Path) -> str:
  text = path.read_text()
  return "\n\n".join(cells(json.loads(text))) if path.suffix == ".ipynb" else text


def cells(notebook: dict[str, Any]) -> Iterator[str]:
  """The cells of a notebook and what they printed and drew, as Markdown."""
  for cell in notebook["cells"]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
      yield source
      continue
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
      data = output.get("data", {"text/plain": output.get("text", "")})
      if picture := data.get("image/png"):
        yield f"![What the cell draws](data:image/png;base64,{picture.strip()})"
      elif text := "".join(data["text/plain"]).rstrip():
        yield f"```text\n{text}\n```"


def apart(markdown: str, stem: str) -> tuple[str, dict[str, bytes]]:
  """The same with its pictures as files, `stem`_1.png and on: those can be opened."""
  pictures: dict[str, bytes] = {}

  def named(match: re.Match[str]) -> str:
    name = f"{stem}_{len(pictures) + 1}.png"
    pictures[name] = base64.b64decode(match[1])
    return f"({name})"

  return _DRAWN.sub(named, markdown), pictures


def commands() -> str:
  """What --help says of each command, as a page."""
  names = [
    " ".join([verb.name, *below])
    for verb in VERBS
    for below in [(), *((name,) for name in _BELOW.get(verb.name, ()))]
  ]
  with futures.ThreadPoolExecutor() as pool:
    answers = list(pool.map(_help, names))
  parts = (
    f"## {name}\n\n```text\n{text}\n```"
    for name, text in zip(names, answers, strict=True)
  )
  return "\n\n".join(["# Commands", "What `robustjax VERB --help` says.", *parts])


def _help(name: str) -> str:
  words = [sys.executable, "-m", "robustjax.cli", *name.split(), "--help"]
  environment = {**os.environ, "COLUMNS": "80", "JAX_PLATFORMS": "cpu"}
  done = subprocess.run(
    words, cwd=ROOT, env=environment, text=True, capture_output=True, check=True
  )
  return done.stdout.rstrip().replace(str(Path.home()), "~")  # of a default
