-- Sessions hold every visit once, and nothing that is none.
with counted as (
    select
        (select count(*) from {{ ref('events') }} where is_visit) as n_visits,
        (select coalesce(sum(n_events), 0) from {{ ref('sessions') }}) as n_in_sessions,
        (
            select count(*)
            from {{ ref('events') }}
            where is_visit <> (session_id is not null)
        ) as n_wrong
)

select *
from counted
where n_visits <> n_in_sessions or n_wrong > 0
