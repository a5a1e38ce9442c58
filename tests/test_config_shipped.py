"""A setting by name or by path: a person's own goes before one that comes along."""

import pytest

from robustjax.config import flags, shipped
from robustjax.errors import UserError


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """An empty folder, the current one."""
  monkeypatch.chdir(tmp_path)
  return tmp_path


@pytest.mark.parametrize("said", ["adv", "adv.py", "./adv", "experiments/adv.py"])
def test_a_setting_that_comes_along_is_found_from_anywhere(folder, said):
  assert shipped.find(said) == shipped.FOLDER / "adv.py"


def test_a_persons_own_file_goes_first(folder):
  (folder / "adv").mkdir()  # a folder of this name is no setting
  assert shipped.find("adv") == shipped.FOLDER / "adv.py"
  (folder / "adv.py").write_text("def get_config(variant=''): ...")
  for said in ("adv", "adv.py", "./adv.py", str(folder / "adv.py")):
    assert shipped.find(said).resolve() == folder / "adv.py"
  assert shipped.find("experiments/adv.py") == shipped.FOLDER / "adv.py"


@pytest.mark.parametrize("said", ["avd", "mine/adv.py", "published", "", ".", ":mini"])
def test_what_is_nowhere_is_a_line_with_the_names_that_are(folder, said):
  with pytest.raises(UserError, match="no file .*adv, adv_clean, .*mbn_alp") as caught:
    shipped.find(said)
  assert "\n" not in str(caught.value) and "published" not in shipped.names()


def test_a_near_name_is_suggested(folder):
  with pytest.raises(UserError, match=r"\(.*alp_study.*\); did you mean mbn_alp\?"):
    shipped.find("mbn_apl")


@pytest.mark.parametrize(
  "words",
  [
    ["--config=mbn_alp:mini,star"],
    ["-config", "mbn_alp.py:mini,star", "--config.seed=1"],
    ["--config=clean", "--config=experiments/mbn_alp.py:star,mini"],
    ["--config", "clean", "--config=mbn_alp:star,mini"],
  ],
)
def test_a_run_takes_a_name(folder, monkeypatch, words):
  monkeypatch.setattr("sys.argv", ["robustjax", *words])
  assert flags.parse().setting == "mbn_alp_star"


def test_cards_have_a_name_of_their_own(folder):
  assert shipped.names("get_card") == ["published"]
  assert shipped.find("published", "get_card") == shipped.FOLDER / "published.py"
