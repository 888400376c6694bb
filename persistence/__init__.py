"""What is stored: the journal on disk, Postgres behind it, and the shipper between the two.

Every SQL statement of the project is in this package; callers give a connection first. Nothing in
here knows LiveKit, HTTP or a provider. Where to look:

    events, journal/            what a session says of itself, and the files that keep it
    folders, disk               whose journal is whose; locks, durable names
    shipper, streams, batches   from the journals on, in order, a batch at a time
    shipper_status              how it fares
    passages, rows              what an event is as rows, written any number of times
    sessions, turns, people     the writing of each; `appointments` says whose a room is
    deadletters, tombstones     what Postgres refused; what stays erased
    dead_jobs, recovery         a job that died, and what its journal becomes
    liveness, deferring         leases and reclaim; the jobs that an end defers
    analyses                    what those jobs read and write
    models, operations          the tables (`schema`: all of them; `tables`, `ids`: what they share)
    migrate                     brings a database to them
    listing, search, excerpts   sessions in lists, by what was said in them
    transcripts, legacy         one session with its turns, or as it was imported
    viewers, reads, keys        who may read; who did; who calls, and what a key opens
    landings                    hearing that something new has landed
    users, figures              people and numbers for those who run it
    health, processes           what works, and what runs
    reported, ratings           what other agents and clients say
    sync_runs                   what outside systems say
    audit, verdicts, diagnosis  whether what is stored is what it claims to be
    database, errors, paging    connections, words for what goes wrong, places in a list
"""
