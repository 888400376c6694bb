"""`coach doctor`: one look at everything that an operator would check, and what to do about it.

What is measured (`persistence.diagnosis`, `persistence.journal.inspection`, LiveKit, the providers)
is apart from what is made of it: `judgement` is pure. Nothing here says a secret, a name, or what
was said; a part that cannot be reached is a finding, and keeps no other from being looked at.
"""
