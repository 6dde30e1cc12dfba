alter table public.courses
  add column search tsvector generated always as (
    to_tsvector('english', title || ' ' || summary)
  ) stored;

create index courses_search_idx on public.courses using gin (search);

create function public.search_courses(words text) returns setof public.courses
language sql stable
set search_path = ''
as $$
  select c.*
  from public.courses c
  where c.search @@ websearch_to_tsquery('english', words)
  order by ts_rank(c.search, websearch_to_tsquery('english', words)) desc, c.title;
$$;

comment on function public.search_courses(text) is 'Runs with the caller''s rights; drafts stay hidden.';
