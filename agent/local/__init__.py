"""What one machine needs to hold sessions by itself, to try them, and to break them.

up, machine           `coach up`: everything, part by part
parts, supervision    what runs as a child, and how it is kept running
processes, leash      children that do not outlive their parent; `interrupts` are Ctrl-C
state, running        this checkout's folder; what other commands may know of it
screen, access        what is shown; the key and the token that open it
postgres              a server from a wheel, by its `postgres_programs`
livekit_server        LiveKit's, one of the `go_programs` that are built where they are missing
toxiproxy             another: a network that fails
loopback              ports, and who answers there
page                  builds `agent/web`
providers/            a stand-in for Deepgram and OpenAI, on their wire
speech, recordings    a voice without a provider; what a session falls back to
client                somebody in a room, as a program; `tasks` are what it does at once
rehearse, rehearsal/  `coach rehearse`: a conversation, and whether Postgres has it
chaos/                `coach chaos`: conversations while everything breaks
wrong_clock           a process whose clock is not right
"""
