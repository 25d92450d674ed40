"""The one error that a user's mistake or misfortune raises."""


class UserError(Exception):
  """Something the user can put right.

  Its message is one line that names the thing that is wrong and the way out;
  the launcher prints that line alone, without a stack trace, and exits with 1.
  """


class Stopped(Exception):
  """The run was asked to stop, and saved its state first."""

  def __init__(self, step: int, signal_number: int):
    super().__init__(
      f"stopped after step {step} and saved; the same command continues the run"
    )
    self.signal_number = signal_number
