"""The one exception that a user is meant to read."""


class UserError(Exception):
  """A mistake the user can mend: one line that names the thing and the remedy.

  `robustjax.main` prints the message alone, without a traceback, and exits
  with status 2. Anything else that is raised is a bug and keeps its traceback.
  """
