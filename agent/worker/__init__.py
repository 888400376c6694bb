"""`coach start`: a process that takes rooms, and one for each of them that holds its session.

server, signals       the worker's own process, and a stop in order
estate, background    what it owns on disk and owes to Postgres; tasks that somebody looks after
entry, forkserver     how a job's process comes to be
lone_clients          nobody waits alone; `lost_agents` are those that died in their rooms
livekit_client        how LiveKit's API is asked; `livekit_clock`: what time it is there
metrics, usage        what Prometheus and the API are told of the worker

job                   one room, one session, from its beginning to its end
options               how this one wants to be run
voice, fallbacks      hears, thinks and speaks; who takes over from a provider that fails
coach                 LiveKit's agent, with our prompts and ears
people, presence      who is who, and who is in the room
listening             attaches to LiveKit's events what makes the record:
recorder, scribe      speech and items → journal events, in their order → the journal
runs, replies         which pieces a turn is made of; how much of the AI was heard
clock, measures       the session's own time; what providers say beside the words
silence, phrases      nobody is left in silence: what is said where no model gives words
aside                 on a track of its own
absence, limit        a client who leaves; a session that goes on for too long
ending, departure     it ends once, for one reason; what becomes of its room

console               the same in a terminal, without a room
"""
