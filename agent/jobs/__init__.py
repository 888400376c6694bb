"""What follows a session: `coach jobs`, and inside `coach start`.

after_session, names  a job is deferred in the transaction that commits the end
app, runner           which tasks there are, and what runs them; `tools` is what they work with
follow_up             from an end to the jobs for it
summary, evidence     the summary, each statement held against the turns that it cites
llm                   a structured answer from OpenAI
"""
