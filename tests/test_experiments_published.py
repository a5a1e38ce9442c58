"""Every card of a published network can be asked for, and says where it is from."""

import pytest

from experiments import published
from robustjax.errors import UserError
from robustjax.evaluate import __main__ as command
from robustjax.evaluate import cards, readings, task
from robustjax.evaluation import suite
from robustjax.paper import tables
from robustjax.weights import __main__ as weights


@pytest.mark.parametrize("word", published.CARDS)
def test_a_card_is_one_that_its_own_command_asks_for(word):
  card = published.get_card(word)
  assert card.word == word
  weights.parser().parse_args(["import", card.file, *card.flags.split(), "--out=run"])
  assert ("--size=288 --resize=-1" in card.flags) == (word == "wong2020")
  ids = [f"--ids={card.ids}"] if card.ids else []
  flags = [f"--card={cards.FILE}:{word}", *ids]
  args = command.parser().parse_args([f"runs/{word}", *flags])
  assert cards.load(args.card) == card
  task.complete(args, card)
  assert (args.attack, args.eps) == (card.attack, card.eps)
  assert args.attack in (readings.NAME, "standard", *suite.NAMES)
  assert bool(card.ids) == (args.images is None)
  assert args.images in (None, card.images)
  assert args.steps == (card.steps or (suite.Options().steps,))
  for text in (card.title, card.where, card.source, card.which, card.reason):
    assert text


@pytest.mark.parametrize("card", published.CARDS.values(), ids=published.CARDS)
def test_numbers_fall_with_the_attack(card):
  assert len({number.attack for number in card.attacked}) == 1
  falling = [card.clean, *card.attacked]
  assert [n.steps for n in falling] == sorted(n.steps for n in falling)
  accuracies = [n.accuracy for n in falling]
  assert accuracies == sorted(accuracies, reverse=True)
  assert 100 > accuracies[0] > accuracies[-1] > 0
  reached = [n.target_hits for n in card.attacked if n.target_hits is not None]
  assert reached == sorted(reached)
  assert len(reached) in (0, len(card.attacked))
  if card.images < 50_000:  # so many images are a whole number of them
    for accuracy in accuracies:
      assert accuracy * card.images / 100 == pytest.approx(
        round(accuracy * card.images / 100), abs=1e-6
      )


def test_the_papers_own_network_is_its_row_of_table_7():
  card = published.get_card("fd_resnet152")
  row = tables.find(card.setting, "all")
  found = {number.steps: number.accuracy for number in (card.clean, *card.attacked)}
  both = found.keys() & row.keys()
  assert both == {0, 10, 100}
  for steps in both:
    assert found[steps] == row[steps].value


def test_another_word_is_answered_by_those_that_there_are():
  with pytest.raises(UserError, match="no card 'fd': name one of fd_resnet152, "):
    published.get_card("fd")
