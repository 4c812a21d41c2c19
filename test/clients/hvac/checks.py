"""The runner of the checks with hvac: each is a function with a name, and prints one JSON line when it has run.

Does not know what is checked, nor how the server is started: its address, root token, share and a folder for files come
as environment variables.
"""

import json
import os
import sys
import time
import traceback
from typing import Any, Callable, Dict, List, Tuple, Type

import hvac

ADDRESS = os.environ["COFFER_TEST_ADDRESS"]
ROOT_TOKEN = os.environ["COFFER_TEST_ROOT_TOKEN"]
UNSEAL_KEY = os.environ["COFFER_TEST_UNSEAL_KEY"]
# A folder of the test's own, for the file of an audit device.
FOLDER = os.environ["COFFER_TEST_FOLDER"]

Check = Callable[[], None]
CHECKS: List[Tuple[str, Check]] = []


def check(name: str) -> Callable[[Check], Check]:
    """Registers a function as the check of this name; checks run in the order of the files and within them."""

    def register(function: Check) -> Check:
        CHECKS.append((name, function))
        return function

    return register


def client(token: str = ROOT_TOKEN, **options: Any) -> hvac.Client:
    """A client as a program would make it: nothing set but address and token."""
    return hvac.Client(url=ADDRESS, token=token, **options)


def equal(got: Any, wanted: Any) -> None:
    if got != wanted:
        raise AssertionError(f"got {got!r} instead of {wanted!r}")


def holds(condition: bool, text: str) -> None:
    if not condition:
        raise AssertionError(text)


def contains(got: Dict[str, Any], wanted: Dict[str, Any]) -> None:
    """The first has everything that the second has; other keys are free."""
    equal({key: got.get(key, "(absent)") for key in wanted}, wanted)


def status(response: Any, code: int) -> None:
    """hvac hands out the response itself when there is no body of JSON."""
    equal(getattr(response, "status_code", response), code)


def refused(kind: Type[Exception], call: Callable[[], Any]) -> Any:
    """The call fails with this class of hvac's own; gives the error."""
    try:
        answer = call()
    except kind as error:
        return error
    raise AssertionError(f"it was answered with {answer!r} instead of {kind.__name__}")


def eventually(probe: Callable[[], bool], text: str) -> None:
    """What the server does in the background is done within some seconds."""
    deadline = time.monotonic() + 20
    while not probe():
        if time.monotonic() > deadline:
            raise AssertionError(f"still not so after 20 s: {text}")
        time.sleep(0.05)


def run_all() -> None:
    for name, function in CHECKS:
        error = ""
        try:
            function()
        except Exception:
            error = traceback.format_exc(limit=-4)
        print(json.dumps({"check": name, "error": error}), flush=True)
    sys.exit(0)
