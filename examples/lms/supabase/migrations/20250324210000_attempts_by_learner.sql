-- Learners wait for this one, so it is built while they go on writing.
create index concurrently attempts_learner_id_finished_at_idx on public.attempts (learner_id, finished_at desc);
