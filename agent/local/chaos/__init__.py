"""`coach chaos`: random campaigns of faults, and whether a word was lost in any of them.

plan        what a campaign will do: pure, the same for the same seed; `left_out` what of it this
            machine cannot do, for want of a compiler or of root
nursery     processes that are born in milliseconds
job, worker what runs in them: the real recorder, journal, shipper and lease, without audio
stage       one campaign of them, on a real Postgres behind a real fault proxy; `clocks` is the time
            that its machine shows, which jumps
rooms       one campaign with a LiveKit server, a real worker, clients who speak and hear;
            `room_stage` plays and judges it
truth       what was said, by who said it; `verdict` and `endings` compare it with what Postgres
            holds, `afterwards` lets the jobs that follow sessions come to their end first
campaigns   one after the other, kept in a ledger, and the table at the end; `stages` brings and
            takes away what they are played on
"""
