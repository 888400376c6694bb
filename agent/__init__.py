"""What runs: the worker, its jobs, the API, and what `coach up` brings to one machine.

The map of the project, from a spoken word to a stored one:

    worker/job            one room, one session: the table of contents of a conversation
    worker/voice          LiveKit's AgentSession with Deepgram and OpenAI, or OpenAI Realtime
    worker/coach          ears at both ends of the pipeline
    worker/recorder       pure: speech and items → journal events
    persistence/journal   the durable log on disk, one file a session
    persistence/shipper   journals → Postgres, idempotent, one connection a worker
    persistence/liveness  leases, and ending the sessions of who is gone
    worker/server         the worker's own process: all of the above, and a stop in order
    jobs/                 what follows a session: its summary
    api/                  what is read, rooms and access tokens; serves the page
    tickets               those tokens of LiveKit: what lets a person into a room
    web/                  the page: TypeScript, built by local/page
    local/                Postgres, LiveKit server and providers for `coach up`; the rehearsal
    local/chaos/          `coach chaos`: faults at random, and whether a word was lost
    doctor/               what an operator would look at, looked at
    cli, commands/        the commands: where the parts are put together; what they print
    settings, logs        the one settings object; logs in which nothing is that was said
    printing              for terminals: what `commands` and `doctor` share

What is stored is in `persistence`, whose docstring maps it; what the AI is told, in `prompts`; how
the schema came about, in `migrations`. `persistence` and `prompts` know nothing of this package;
import-linter holds them to it. Tests are by what they need: `tests/unit` next to nothing,
`tests/integration` real parts, `tests/acceptance` a whole deployment; `tests/faults` breaks them on
purpose, `tests/bench` measures them.
"""
