"""What the report says, from the runs' files: a document that has no format yet."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from robustjax.paper import figures, notes, settings
from robustjax.paper import tables as paper
from robustjax.report import conditions, curves, inside, listing, tables, verdicts
from robustjax.report import runs as finder
from robustjax.report.conditions import Condition, Other
from robustjax.report.document import (
  SPACE,
  Block,
  Document,
  Heading,
  Inline,
  Link,
  Mark,
  Note,
  Panels,
  Paragraph,
)
from robustjax.report.runs import Run

MINI = "mini"  # the small scale
TITLE = "Intriguing properties of adversarial training: published and measured"


def build(folders: Sequence[Path]) -> Document:
  """The report of the runs in some folders.

  Args:
    folders: searched at any depth.

  Returns:
    The document. Damaged files are named in it.

  Raises:
    UserError: a folder cannot be read.
  """
  runs, problems = finder.find(folders)
  groups, others = conditions.group(runs)
  problems += conditions.twins(groups)
  numbers = {key: number for number, key in enumerate(notes.NOTES, 1)}
  statistics, images = inside.blocks(groups, [o.run for o in others], problems)
  document = Document(TITLE)
  document.add(Heading(1, TITLE, "top"), *_summary(runs, groups, others, problems))
  document.add(*_effects(groups))
  document.add(Heading(2, "Tables", "tables"), _how_to_read(groups))
  for table in paper.TABLES:
    section = f"{_kind_of(table.number)} {table.number}"
    document.add(Heading(3, section, f"table-{table.number.replace('.', '-')}"))
    document.add(*tables.blocks(table, groups, numbers))
  document.add(Heading(2, "Figures", "figures"), *_figures(groups, statistics, numbers))
  document.add(*images)
  document.add(*listing.runs(runs), *listing.others(others), *listing.guesses(runs))
  document.add(*listing.problems(problems), *listing.notes())
  return document


def _kind_of(number: str) -> str:
  return "Section" if "." in number else "Table"


def _number(count: int, what: str) -> str:
  return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def _summary(
  runs: Sequence[Run],
  groups: Sequence[Condition],
  others: Sequence[Other],
  problems: Sequence[str],
) -> Iterator[Block]:
  states = Counter(run.progress.state for run in runs)
  words = {
    "complete": "complete",
    "evaluating": "being evaluated",
    "trained": "trained without a whole evaluation",
    "training": "in training",
    "empty": "not begun",
  }
  said = [f"{states[state]} {word}" for state, word in words.items() if states[state]]
  text = "The published numbers of Xie & Yuille (arXiv:1906.03787) beside what "
  if not runs:
    text += "runs measured. No run was found: nothing measured."
  else:
    text += f"{_number(len(runs), 'run')} measured: {', '.join(said)}."
    within = [f"{c.label} ({_number(len(c.runs), 'run')})" for c in groups if c.runs]
    if others:
      within.append(f"{_number(len(others), 'run')} of no row of the paper")
    text += f" Conditions: {'; '.join(within)}."
    furthest = max(runs, key=lambda run: run.progress.step)
    text += f" The furthest is {furthest.name}, at step {furthest.progress.step:,}."
  parts: list[Inline] = [text]
  if problems:
    parts += [" ", Link(f"{_number(len(problems), 'problem')}.", "problems")]
  yield Paragraph(tuple(parts))
  foreign = [c.label for c in groups if c.runs and not c.is_paper]
  if foreign:
    yield Paragraph(
      (
        "Numbers tinted yellow were not measured in the paper's condition (ImageNet,"
        f" eps 16) but in another: {'; '.join(foreign)}. They can show whether an"
        " effect appears, and are never to be compared with a published accuracy.",
      ),
      "warning",
    )
  if any(c.scale == MINI for c in groups if c.runs):
    yield Paragraph((_miniature(),))


def _miniature() -> str:
  """What stands behind the word, since a row's name speaks of ImageNet's run."""
  own = settings.defaults(MINI)
  side, blocks = own["data.image_size"], ", ".join(map(str, own["model.stages"]))
  return (
    f"Miniature: {own['data.train_examples']:,} training images of {own['data.name']},"
    f" {side} x {side} pixels, {own['data.classes']} classes; a ResNet with {blocks}"
    f" blocks a stage, from {own['model.width']} channels up; unless the row is about"
    f" them, PGD-{own['attack.steps']} in training, batches of"
    f" {own['train.batch_size']}, {own['train.epochs']:g} epochs. Where a row says"
    " ResNet-152, PGD-30 or 4096, its miniature has these in their place. The paper"
    " itself (section 4.2) says that on small data sets clean images need not cost"
    " robustness."
  )


def _effects(groups: Sequence[Condition]) -> Iterator[Block]:
  yield Heading(2, "Which effects appear", "effects")
  judged = [verdicts.blocks(group) for group in groups]
  if not any(judged):
    text = "Nothing measured: no claim of the paper has both of its sides yet."
    yield Paragraph((text,))
    return
  yield Paragraph(
    (
      "Each claim of the paper is a difference between two accuracies. It appears if"
      f" the whole 95{SPACE}% interval of the measured difference is above 0, is"
      " reversed if it is below, and is otherwise not seen; where two accuracies are"
      " claimed to be nearly the same, it appears if the interval lies within the"
      " points that stand there, and they differ if it lies outside. Published"
      " robustness is against PGD-2000. The intervals take the two accuracies as"
      " independent, though the same images serve both, and so are rather too wide;"
      " they cover the choice of test images and not that of the seed: another training"
      " may differ by more. Of forty claims, some will appear, or be reversed, by"
      " chance.",
    )
  )
  for blocks in judged:
    yield from blocks


def _how_to_read(groups: Sequence[Condition]) -> Paragraph:
  text = (
    f"Measured accuracies stand with a 95{SPACE}% Wilson interval of their counts and,"
    " where several seeds were run, as their mean with the range over the seeds; seeds"
    " share their test images, and so do not narrow the interval. Where a run was not"
    " read against the paper's strongest attack, its own strongest stands there and is"
    " named; what else it was not read against says so."
  )
  if any(run.evaluation and run.evaluation.guesses for c in groups for run in c.runs):
    mark = Mark("g", tables.GUESSES, "guesses")
    return Paragraph((text, " A cell marked", mark, " depends on guesses."))
  return Paragraph((text,))


def _figures(
  groups: Sequence[Condition],
  statistics: Sequence[Block],
  notes: Mapping[str, int],
) -> Iterator[Block]:
  """The paper's figures in their order; `statistics` are Figures 5 and 6."""
  for figure in figures.FIGURES:
    if figure.number > 5:
      yield from statistics
      statistics = ()
    yield Heading(3, f"Figure {figure.number}", f"figure-{figure.number}")
    yield Panels(f"{figure.title}.", curves.panels(figure, groups))
    if figure.notes:
      marks = (Note(notes[key]) for key in figure.notes)
      yield Paragraph(("A note on the published numbers:", *marks))
