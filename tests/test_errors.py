"""What is said of a name that is none of some."""

import pytest

from byol_jax.errors import no_such


@pytest.mark.parametrize(
  ("name", "names", "says"),
  [
    ("foldr", ["cifar10", "folder"], "did you mean folder? There are cifar10, folder"),
    ("foldr", ["folder", *map(str, range(20))], "did you mean folder?"),
    ("x", ["cifar10", "folder"], "choose one of cifar10, folder"),
    (4, [34, 50], "choose one of 34, 50"),
    (None, iter(["none"]), "choose one of none"),
  ],
)
def test_a_name_that_is_like_it(name, names, says):
  assert str(no_such("thing", name, names)) == f"there is no thing {name!r}: {says}"
