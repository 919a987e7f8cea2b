"""How a command ends when it does not end well, and the exit codes that say so."""

import re
import signal

DONE = 0
FAILED = 1
USER_MISTAKE = 2
INTERRUPTED = 75  # EX_TEMPFAIL: the same command with `resume=` goes on
ENDING = (signal.SIGINT, signal.SIGTERM)
"""What ends a command that has nothing to save."""
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
"""Signals that ask a command to stop where it can go on later."""
NOTHING_BEGUN = "interrupted before anything was begun"


class UserError(Exception):
    """Something the user can put right: told in one line (what, where, what to do), exit code 2."""


class RunError(Exception):
    """What ends a run though nobody made a mistake, and is understood: told in one line, exit code 1."""


class DivergedError(RunError):
    """Training came to numbers that are not finite.

    Attributes:
        step: the optimizer step, from 0, at which that was seen first.
        rate: its learning rate.
    """

    def __init__(self, what: str, step: int, rate: float) -> None:
        super().__init__(f"{what} is not finite at step {step}, learning rate {rate:g}")
        self.step = step
        self.rate = rate


class Interrupted(BaseException):
    """A signal asked the run to stop; it can be resumed. Not an Exception, so that nothing swallows it."""


NAME_IN_ADDRESS = re.compile(r"//[^/\s]*@")
"""The name, and perhaps the password, in an address: `//name:password@`."""


def redacted(text: str) -> str:
    """The text without the name and password of any address in it."""
    return NAME_IN_ADDRESS.sub("//***@", text)


def printable(text: str) -> str:
    """The text with every sign that a terminal would obey, or not show, spelled out."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def first_line(error: BaseException) -> str:
    """What went wrong, in a line; the error's class where it says nothing."""
    return redacted((str(error).strip().splitlines() or [type(error).__name__])[0])
