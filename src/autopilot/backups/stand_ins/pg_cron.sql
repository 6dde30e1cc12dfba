-- pg_cron: jobs are written down and never run.
create table job (
    jobid bigserial primary key, schedule text not null, command text not null, nodename text not null default 'localhost',
    nodeport integer not null default 5432, database text not null default current_database(),
    username text not null default current_user, active boolean not null default true, jobname text, unique (jobname, username)
);
create table job_run_details (
    jobid bigint, runid bigserial primary key, job_pid integer, database text, username text, command text, status text,
    return_message text, start_time timestamptz, end_time timestamptz
);
create function schedule(schedule text, command text) returns bigint language sql security definer
    as $$ insert into cron.job (schedule, command) values ($1, $2) returning jobid $$;
create function schedule(job_name text, schedule text, command text) returns bigint language sql security definer
    as $$ insert into cron.job (jobname, schedule, command) values ($1, $2, $3)
          on conflict (jobname, username) do update set schedule = excluded.schedule, command = excluded.command returning jobid $$;
create function unschedule(job_id bigint) returns boolean language plpgsql security definer
    as $$ begin delete from cron.job where jobid = job_id; return true; end $$;
create function unschedule(job_name text) returns boolean language plpgsql security definer
    as $$ begin delete from cron.job where jobname = job_name; return true; end $$;
create function alter_job(
    job_id bigint, schedule text default null, command text default null, database text default null, username text default null,
    active boolean default null
) returns void language sql as $$ select $$;
grant select on job, job_run_details to public;
