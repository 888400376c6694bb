"""For the process that all jobs are forked from, and only for it: it stays when its group must go.

An init system or a Ctrl-C signals a whole process group. Without this process the worker takes its
jobs for gone and lets go of them: their sessions end in the middle of a word, whatever time they
were given. Importing this module is all it takes (`preload_modules`), since nothing of ours is
called there; what is forked inherits it, so that a job is deaf to both signals from its first
moment on.

It comes before all that is loaded there, so that a job can hold its clock steady for all of that.
"""

from __future__ import annotations

import signal

from agent.worker import clock

clock.can_be_held()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
