-- On its own: a new value cannot be used in the transaction that adds it.
alter type public.enrolment_status add value if not exists 'paused' before 'completed';
