"""`coach api`: what is read, rooms and tokens, over HTTP; and the page.

server, app           the process, and its routes put together, with their `resources`
edge, bounds, errors  around every request: ids and logs, sizes and times, one shape of error
connections, limits   how many may be open, how often who may call; `cors`: which other sites
auth, signin          who calls, by key or by cookie, and what they may do

transcripts           sessions in lists and whole; `exports` as files; `messages`: their shape
events, following     a session as it goes on, to `event_stream`s
ratings               what its client thought of it
reported              what other agents recorded; `sync_runs`: what outside systems did
rooms, tokens         a room with a coach in it, and what lets a person in
users, figures        people and numbers for those who run it
health, processes     how the system is; `upkeep` records it
probes, measures      for machines; `readiness` is whether Postgres answers
page, built           the page, and where it is

shapes, paging        what all routes share; `unchanged`: what need not be sent twice
"""
