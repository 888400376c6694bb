"""The parts of `coach rehearse`: a conversation with a whole deployment, and what became of it.

`deployment` is the HTTP API as a client sees it, `monologue` what is said, `conversation` the time
in the room, `record` what one rehearsed session yielded, `comparison` and `verdict` the judgement
on it (pure), `report` and `progress` what a person or a program is told.
"""
