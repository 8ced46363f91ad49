"""Runs a command that ends when the process that started it does: ``python tether.py PARENT COMMAND …``.

The demo is stopped in order when it can be. This is for when it can't, killed with -9, say: Linux then asks its children
to stop. It is a script of its own since only a child can ask for that, before it becomes the command.
"""

import ctypes
import os
import sys

__all__: list[str] = []

PR_SET_PDEATHSIG = 1
SIGTERM = 15

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGTERM)
    # The parent may have died before the line above: then nobody will send the signal.
    if os.getppid() == int(sys.argv[1]):
        os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - the command is ours
