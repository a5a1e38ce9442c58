"""The published numbers show what the claims say."""

import pytest

from robustjax.paper import claims


def test_keys_are_names():
  keys = [claim.key for claim in claims.CLAIMS]
  assert len(keys) == len(set(keys))
  texts = [claim.text for claim in claims.CLAIMS]
  assert len(texts) == len(set(texts)) and all(t.endswith(".") for t in texts)


def test_every_published_difference_is_what_its_claim_says():
  for claim in claims.CLAIMS:
    if claim.published is None:
      continue
    if claim.near is None:
      assert claim.published > 0, claim.key
    else:
      assert abs(claim.published) <= claim.near, claim.key


def test_few_claims_have_no_published_difference():
  """The paper attacks no network without adversarial images, nor MBN's clean branch."""
  without = {claim.key for claim in claims.CLAIMS if claim.published is None}
  assert without == {"adv_training", "mbn_branches_robust", "eps8_levels"}


def test_nearly_is_the_papers_word():
  """Section 4.2 calls all of Table 1's pairs nearly the same."""
  assert pytest.approx(39.2 - 35.3) == claims.NEARLY
