"""What settings may be: a test of a value, and the words for it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class Valid(NamedTuple):
  """What a setting must be.

  Attributes:
    holds: whether a value is.
    words: the same for the user, as in "give more than 0".
  """

  holds: Callable[[Any], bool]
  words: str

  def __contains__(self, value: object) -> bool:
    """Whether a value is valid; one of a type that cannot be compared is not."""
    try:
      return bool(self.holds(value))
    except TypeError:  # a text where there should be a number, or the other way round
      return False


POSITIVE = Valid(lambda value: 0 < value < float("inf"), "more than 0")
NOT_NEGATIVE = Valid(lambda value: 0 <= value < float("inf"), "0 or more")
SHARE = Valid(lambda value: 0 <= value <= 1, "a share in [0, 1]")
SOME = Valid(lambda value: 0 < value <= 1, "a share in (0, 1]")
NOT_ALL = Valid(lambda value: 0 <= value < 1, "a share in [0, 1)")
TRUE_OR_FALSE = Valid(lambda value: isinstance(value, bool), "True or False")


def at_least(least: int) -> Valid:
  """A number of this or more."""
  return Valid(lambda value: least <= value < float("inf"), f"{least} or more")


def between(least: float, most: float) -> Valid:
  """A number from the one to the other, both included."""
  return Valid(lambda value: least <= value <= most, f"{least:,} to {most:,}")


def one_of(names: Iterable[Any]) -> Valid:
  """A setting that is one of these."""
  return Valid(lambda value: value in names, f"one of {', '.join(map(str, names))}")


def pair(most: float = float("inf")) -> Valid:
  """(low, high), 0 < low <= high <= most."""

  def holds(value: Sequence[float]) -> bool:
    low, high = value if len(value) == 2 else (0, 0)
    return 0 < low <= high <= most and high < float("inf")

  top = "" if most == float("inf") else f" <= {most}"
  return Valid(holds, f"(low, high), 0 < low <= high{top}")


def each(valid: Valid) -> Valid:
  """Numbers, at least one, of which each is valid; or one such number."""

  def holds(value: Any) -> bool:
    several = value if isinstance(value, tuple | list) else (value,)
    return bool(several) and all(one in valid for one in several)

  return Valid(holds, f"{valid.words}, each if several")


def _is_number(value: Any) -> bool:
  return type(value) in (int, float) and abs(value) < 1e15


NUMBER = Valid(_is_number, "a number")  # neither infinite nor True
PART = Valid(lambda value: _is_number(value) and 0 <= value <= 1, "a number in [0, 1]")
COUNT = Valid(lambda value: type(value) is int and 0 <= value < 10**15, "0, 1, 2, ...")


def fits(value: Any, form: Any) -> bool:
  """Whether what JSON says is of a form.

  Args:
    value: anything.
    form: a type, or several; a `Valid`; a list of one form, which each item of a list
      has; or an object with the forms of fields that an object has among others.
  """
  match form:
    case Valid():
      return value in form
    case [each]:
      return isinstance(value, list) and all(fits(item, each) for item in value)
    case Mapping():
      return isinstance(value, Mapping) and all(
        name in value and fits(value[name], each) for name, each in form.items()
      )
  return isinstance(value, form)
