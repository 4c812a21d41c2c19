"""Runs every check. The order of the imports is the order of the checks; the one that seals the server comes last."""

import kv_checks  # noqa: F401
import token_checks  # noqa: F401
import login_checks  # noqa: F401
import identity_checks  # noqa: F401
import system_checks  # noqa: F401
import seal_checks  # noqa: F401
from checks import run_all

run_all()
