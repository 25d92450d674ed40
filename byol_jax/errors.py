"""The one error that a user's mistake or misfortune raises."""


class UserError(Exception):
  """Something the user can put right.

  Its message is one line that names the thing that is wrong and the way out;
  the launcher prints that line alone, without a stack trace, and exits with 1.
  """
