{#- How many steps the longest path has, and how many paths of each kind are told apart. -#}
{%- set n = 5 -%}
{%- set n_kept = 50 -%}
with events as (
    select
        person_number,
        person_id,
        event_number,
        session_id,
        -- An order and the event that tells of it are one purchase.
        case when event = 'order' then 'purchase' else event end as event,
        event = 'order' as is_order,
        occurred_at
    from {{ ref('person_events') }}
    where visit_number is not null
),

-- The same event several times in a row is one step, told when it last happened.
session_runs as (
    select *
    from (
        select
            person_number,
            session_id,
            event_number,
            event,
            occurred_at,
            coalesce(
                event <> lead(event) over (
                    partition by session_id
                    order by event_number nulls last
                ),
                true
            ) as is_step
        from events
        where session_id is not null
    ) as session_events
    where is_step
),

session_steps as (
    select
        person_number,
        event as step_0,
        occurred_at,
        {%- for i in range(1, n + 1) %}
        lag(event, {{ i }}) over runs as step_{{ i }},
        {%- endfor %}
        lead(event_number) over runs is null as is_last,
        count_if(event = 'purchase') over runs as n_purchases
    from session_runs
    window runs as (
        partition by session_id
        order by event_number nulls last
    )
),

-- The last steps that a customer took who has been silent for longer than the own rhythm.
dormant_runs as (
    select *
    from (
        select
            events.person_number,
            events.event_number,
            events.event,
            bool_or(not events.is_order) over (
                partition by events.person_number
            ) as has_visits,
            coalesce(
                events.event <> lead(events.event) over (
                    partition by events.person_number
                    order by events.event_number nulls last
                ),
                true
            ) as is_step
        from events
        inner join {{ ref('customer_rhythms') }} as rhythms
            on events.person_id = 'customer:' || rhythms.customer_id
        where rhythms.is_dormant
    ) as dormant_events
    where
        is_step
        and has_visits
),

dormant_steps as (
    select
        person_number,
        event as step_1,
        {%- for i in range(1, n) %}
        lag(event, {{ i }}) over runs as step_{{ i + 1 }},
        {%- endfor %}
        lead(event_number) over runs is null as is_last
    from dormant_runs
    window runs as (
        partition by person_number
        order by event_number nulls last
    )
),

ends as (
    select
        'purchase' as path_end,
        {%- for i in range(1, n + 1) %}
        step_{{ i }},
        {%- endfor %}
        person_number
    from session_steps
    where step_0 = 'purchase'

    union all

    -- A session that may still go on has not ended.
    select
        'exit' as path_end,
        {%- for i in range(n) %}
        step_{{ i }} as step_{{ i + 1 }},
        {%- endfor %}
        person_number
    from session_steps
    where
        is_last
        and n_purchases = 0
        and {{ perennial.seconds_between(
            'occurred_at', '(select as_of from ' ~ ref('clock') ~ ')'
        ) }} > 60 * {{ perennial.setting('session_timeout_minutes') }}

    union all

    select
        'dormancy' as path_end,
        {%- for i in range(1, n + 1) %}
        step_{{ i }},
        {%- endfor %}
        person_number
    from dormant_steps
    where is_last
),

-- The ends of a person that are alike, once with their number.
alike as (
    select
        path_end,
        person_number,
        {%- for i in range(1, n + 1) %}
        step_{{ i }},
        {%- endfor %}
        count(*) as n_paths
    from ends
    group by all
),

written as (
    {%- for length in range(1, n + 1) %}
    select
        path_end,
        {{ length }} as n_steps,
        concat_ws(
            ' > ',
            case when step_{{ length }} is null then '(start)' end
            {%- for i in range(length, 0, -1) %},
            step_{{ i }}
            {%- endfor %}
        ) as path,
        person_number,
        n_paths
    from alike
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

ranked as (
    select
        *,
        row_number() over (
            partition by path_end, n_steps
            order by n_paths desc, path asc nulls last
        ) as path_rank
    from (
        select
            path_end,
            n_steps,
            path,
            sum(n_paths) as n_paths
        from written
        group by all
    ) as counted
),

kept as (
    select
        written.path_end,
        written.n_steps,
        case when ranked.path_rank <= {{ n_kept }} then ranked.path_rank end
            as path_rank,
        case
            when ranked.path_rank <= {{ n_kept }} then written.path else '(other)'
        end as path,
        sum(written.n_paths) as n_paths,
        count(distinct written.person_number) as n_persons
    from written
    inner join ranked
        on
            written.path_end = ranked.path_end
            and written.n_steps = ranked.n_steps
            and written.path = ranked.path
    group by all
)

select
    cast(path_end as string) as path_end,
    cast(n_steps as integer) as n_steps,
    cast(path as string) as path,
    cast(path_rank as bigint) as path_rank,
    cast(n_paths as bigint) as n_paths,
    cast(n_persons as bigint) as n_persons,
    cast(sum(n_paths) over (partition by path_end, n_steps) as bigint) as n_all_paths,
    cast(
        cast(n_paths as double) / sum(n_paths) over (partition by path_end, n_steps)
        as double
    ) as path_share
from kept
