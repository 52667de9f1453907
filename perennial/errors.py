"""The one exception that the command line turns into a sentence."""


class UserError(Exception):
    """Something the user can put right: the message says what was wrong, where, what to do."""
