"""What runs: the worker, its jobs, the API, and what `coach up` brings to one machine.

The map of the project, from a spoken word to a stored one:

    worker/job.py        one room, one session: the table of contents of a conversation
    worker/voice.py      LiveKit's AgentSession with Deepgram and OpenAI, or OpenAI Realtime
    worker/coach.py      ears at both ends of the pipeline
    worker/recorder.py   pure: speech and items → journal events
    persistence/journal  the durable log on disk, one file a session
    persistence/shipper  journals → Postgres, idempotent, one connection a worker
    persistence/liveness leases, and ending the sessions of who is gone
    worker/server.py     the worker's own process: all of the above, and a stop in order
    jobs/                what follows a session: its summary
    doctor/              what an operator would look at, looked at
    api/                 what is read, rooms and tokens; serves the page
    web/                 the page: TypeScript, built by local/page
    local/               Postgres, LiveKit server and providers for `coach up`; the rehearsal
    cli.py, commands/    the commands: where the parts are put together

`persistence` and `prompts` know nothing of this package; import-linter holds them to it.
"""
