{#- How many steps the longest path has, and how many paths of each kind are told apart. -#}
{%- set n = 5 -%}
{%- set n_kept = 50 -%}
with named as (
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

-- Two digits for each kind of event: a path is a number whose last digits are the last steps.
kinds as (
    select
        event,
        row_number() over (order by event nulls last) as kind
    from (select distinct event from named) as names
),

events as (
    select
        named.person_number,
        named.person_id,
        named.event_number,
        named.session_id,
        kinds.kind,
        named.event = 'purchase' as is_purchase,
        named.is_order,
        named.occurred_at
    from named
    inner join kinds
        on named.event = kinds.event
),

-- The same event several times in a row is one step, told when it last happened.
session_runs as (
    select *
    from (
        select
            person_number,
            session_id,
            event_number,
            kind,
            is_purchase,
            occurred_at,
            coalesce(
                kind <> lead(kind) over (
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
        kind as step_0,
        is_purchase,
        occurred_at,
        {%- for i in range(1, n + 1) %}
        lag(kind, {{ i }}, 0) over runs as step_{{ i }},
        {%- endfor %}
        lead(event_number) over runs is null as is_last,
        count_if(is_purchase) over runs as n_purchases
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
            events.kind,
            bool_or(not events.is_order) over (
                partition by events.person_number
            ) as has_visits,
            coalesce(
                events.kind <> lead(events.kind) over (
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
        kind as step_0,
        {%- for i in range(1, n) %}
        lag(kind, {{ i }}, 0) over runs as step_{{ i }},
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
        person_number,
        {%- for i in range(n) %}
        {{ 100 ** i }} * step_{{ i + 1 }} {{ '+' if not loop.last }}
        {%- endfor %} as path_number
    from session_steps
    where is_purchase

    union all

    -- A session that may still go on has not ended.
    select
        'exit' as path_end,
        person_number,
        {%- for i in range(n) %}
        {{ 100 ** i }} * step_{{ i }} {{ '+' if not loop.last }}
        {%- endfor %} as path_number
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
        person_number,
        {%- for i in range(n) %}
        {{ 100 ** i }} * step_{{ i }} {{ '+' if not loop.last }}
        {%- endfor %} as path_number
    from dormant_steps
    where is_last
),

-- The ends of a person that are alike, once with their number.
alike as (
    select
        path_end,
        path_number,
        person_number,
        count(*) as n_paths
    from ends
    group by all
),

shortened as (
    {%- for length in range(1, n + 1) %}
    select
        path_end,
        {{ length }} as n_steps,
        path_number % {{ 100 ** length }} as path_number,
        person_number,
        n_paths
    from alike
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

counted as (
    select
        path_end,
        n_steps,
        path_number,
        sum(n_paths) as n_paths
    from shortened
    group by all
),

written as (
    select
        counted.path_end,
        counted.n_steps,
        counted.path_number,
        concat_ws(
            ' > ',
            case
                when counted.path_number < power(100, counted.n_steps - 1)
                    then '(start)'
            end,
            {%- for i in range(n, 1, -1) %}
            kinds_{{ i }}.event,
            {%- endfor %}
            kinds_1.event
        ) as path,
        counted.n_paths
    from counted
    left join kinds as kinds_1
        on counted.path_number % 100 = kinds_1.kind
    {%- for i in range(2, n + 1) %}
    left join kinds as kinds_{{ i }}
        on floor(counted.path_number / {{ 100 ** (i - 1) }}) % 100 = kinds_{{ i }}.kind
    {%- endfor %}
),

ranked as (
    select
        *,
        row_number() over (
            partition by path_end, n_steps
            order by n_paths desc, path asc nulls last
        ) as path_rank
    from written
),

kept as (
    select
        ranked.path_end,
        ranked.n_steps,
        case when ranked.path_rank <= {{ n_kept }} then ranked.path_rank end
            as path_rank,
        case when ranked.path_rank <= {{ n_kept }} then ranked.path else '(other)' end
            as path,
        sum(shortened.n_paths) as n_paths,
        count(distinct shortened.person_number) as n_persons
    from shortened
    inner join ranked
        on
            shortened.path_end = ranked.path_end
            and shortened.n_steps = ranked.n_steps
            and shortened.path_number = ranked.path_number
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
