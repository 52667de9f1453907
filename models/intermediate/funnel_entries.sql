{%- set n = perennial.max_funnel_steps() -%}
with steps as (
    select
        dense_rank() over (order by funnel nulls last) as funnel_number,
        funnel,
        mode = 'strict' as is_strict,
        mode = 'any_order' as is_any_order,
        step_number,
        event,
        lead(3600 * window_hours) over (
            partition by funnel
            order by step_number nulls last
        ) as next_window_seconds,
        max(3600 * window_hours) over (partition by funnel) as whole_window_seconds,
        row_number() over (
            partition by funnel, event
            order by step_number nulls last
        ) as occurrence
    from {{ ref('funnel_steps') }}
),

-- From the last step back to the first: how far one can still get from each event of a step,
-- and when. Of the events that lead on to step d the nearest one is enough: if any of them
-- lies in the window, the nearest does, whatever the later windows are; and who always goes on
-- to the nearest is at none of the steps later than in any other chain. The latest chain so
-- far, from the first step on, would tell that somebody came through, but not in which period
-- that began: an entry from before midnight may lead to the same order as one from after it.
{%- for k in range(n, 0, -1) %}
step_{{ k }} as (
    select
        steps.funnel_number,
        steps.is_strict,
        steps.next_window_seconds,
        events.person_number,
        events.event_number,
        events.visit_number,
        {%- if k == 1 %}
        events.occurred_on,
        events.device,
        {%- endif %}
        events.occurred_at
    from {{ ref('person_events') }} as events
    inner join steps
        on events.event = steps.event
    where
        steps.step_number = {{ k }}
        and not steps.is_any_order
        and (events.visit_number is not null or not steps.is_strict)
),
{%- if k < n %}

-- The same event is no second step: in the reverse order, this step comes before the next.
ways_{{ k }} as (
    select
        funnel_number,
        is_strict,
        next_window_seconds,
        person_number,
        event_number,
        visit_number,
        {%- if k == 1 %}
        occurred_on,
        device,
        {%- endif %}
        occurred_at,
        {%- for d in range(k + 1, n + 1) %}
        {{ perennial.last_known(
            'case when n_reached >= ' ~ d ~ ' then way end',
            'funnel_number, person_number',
            'event_number desc, is_next asc nulls last'
        ) | indent(8) }} as way_to_{{ d }},
        {%- endfor %}
        is_next
    from (
        select
            funnel_number,
            is_strict,
            next_window_seconds,
            person_number,
            event_number,
            visit_number,
            {%- if k == 1 %}
            occurred_on,
            device,
            {%- endif %}
            occurred_at,
            false as is_next,
            cast(null as bigint) as n_reached,
            cast(null as string) as way
        from step_{{ k }}

        union all

        select
            funnel_number,
            is_strict,
            next_window_seconds,
            person_number,
            event_number,
            visit_number,
            {%- if k == 1 %}
            cast(null as date) as occurred_on,
            cast(null as string) as device,
            {%- endif %}
            occurred_at,
            true as is_next,
            n_reached,
            coalesce(visit_number, 0) || ';' || occurred_at || onward as way
        from from_{{ k + 1 }}
    ) as both_steps
),
{%- endif %}

from_{{ k }} as (
    {%- if k == n %}
    select
        *,
        {{ n }} as n_reached,
        '' as onward
    from step_{{ k }}
    {%- else %}
    select
        *,
        {{ k }} + length(onward) - length(replace(onward, '|', '')) as n_reached
    from (
        select
            funnel_number,
            is_strict,
            next_window_seconds,
            person_number,
            event_number,
            visit_number,
            {%- if k == 1 %}
            occurred_on,
            device,
            {%- endif %}
            occurred_at,
            coalesce(
                {%- for d in range(n, k, -1) %}
                case
                    when
                        {{ perennial.is_next_step('way_to_' ~ d) | indent(24) }}
                        then '|' || split_part(way_to_{{ d }}, ';', 2)
                end,
                {%- endfor %}
                ''
            ) as onward
        from ways_{{ k }}
        where not is_next
    ) as chains
    {%- endif %}
),
{%- endfor %}

-- Of a funnel of any order every event is an entry.
any_events as (
    select
        steps.funnel_number,
        steps.step_number,
        steps.occurrence,
        steps.whole_window_seconds,
        events.person_number,
        events.event_number,
        events.occurred_on,
        events.device,
        events.occurred_at
    from {{ ref('person_events') }} as events
    inner join steps
        on events.event = steps.event
    where steps.is_any_order
),

-- What must happen several times has happened with the last of them.
any_marks as (
    select
        *,
        occurred_at as done_at
    from any_events
    where occurrence = 1

    union all

    select
        *,
        case occurrence
            {%- for i in range(1, n) %}
            when {{ i + 1 }} then lead(occurred_at, {{ i }}) over step_events
            {%- endfor %}
        end as done_at
    from any_events
    where occurrence > 1
    window step_events as (
        partition by funnel_number, step_number, person_number
        order by event_number nulls last
    )
),

any_ahead as (
    select
        {%- for k in range(1, n + 1) %}
        {{ perennial.last_known(
            'case when step_number = ' ~ k ~ ' then done_at end',
            'funnel_number, person_number',
            'event_number desc, occurrence desc'
        ) | indent(8) }} as done_{{ k }}_at,
        {%- endfor %}
        *
    from any_marks
),

any_chains as (
    select
        *,
        concat_ws(
            '|',
            ''
            {%- for k in range(1, n + 1) %},
            case
                when
                    step_number <> {{ k }}
                    and {{ perennial.seconds_between(
                        'occurred_at', 'done_' ~ k ~ '_at'
                    ) }} <= whole_window_seconds
                    then cast(done_{{ k }}_at as string)
            end
            {%- endfor %}
        ) as onward
    from any_ahead
    where occurrence = 1
),

entries as (
    select
        funnel_number,
        person_number,
        event_number,
        device,
        occurred_on,
        occurred_at,
        n_reached,
        onward,
        case
            when n_reached = 1 then occurred_at
            else
                cast(split_part(onward, '|', cast(n_reached as integer)) as timestamp)
        end as came_through_at
    from from_1

    union all

    select
        funnel_number,
        person_number,
        event_number,
        device,
        occurred_on,
        occurred_at,
        1 + length(onward) - length(replace(onward, '|', '')) as n_reached,
        onward,
        greatest(
            {%- for k in range(1, n + 1) %}
            case
                when
                    {{ perennial.seconds_between(
                        'occurred_at', 'done_' ~ k ~ '_at'
                    ) }} <= whole_window_seconds
                    then done_{{ k }}_at
            end{{ ',' if not loop.last }}
            {%- endfor %}
        ) as came_through_at
    from any_chains
),

-- A person counts once in a period: with the chain that got furthest, of those with the one
-- that got there first, and of those with the one that began last.
best as (
    {%- for grain in ['week', 'month'] %}
    select
        funnel_number,
        person_number,
        '{{ grain }}' as grain,
        {{ perennial.period_start(grain, 'occurred_on') }} as period_start_on,
        min_by(event_number, (-n_reached, came_through_at, -event_number))
            as event_number
    from entries
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

funnels as (
    select distinct
        funnel,
        funnel_number,
        is_any_order
    from steps
),

chosen as (
    select
        best.grain,
        best.period_start_on,
        entries.person_number,
        funnels.funnel,
        funnels.is_any_order,
        entries.device,
        entries.occurred_at,
        entries.n_reached,
        entries.onward
    from best
    inner join entries
        on
            best.funnel_number = entries.funnel_number
            and best.person_number = entries.person_number
            and best.event_number = entries.event_number
    inner join funnels
        on best.funnel_number = funnels.funnel_number
),

step_numbers as (
    {{ perennial.numbers(1, n) }}
),

reached as (
    select
        chosen.*,
        step_numbers.n as step,
        {{ perennial.step_moment('step_numbers.n') | indent(8) }} as reached_at,
        case
            when not chosen.is_any_order
                then {{ perennial.step_moment('(step_numbers.n - 1)') | indent(20) }}
        end as previous_reached_at
    from chosen
    inner join step_numbers
        on chosen.n_reached >= step_numbers.n
),

-- What was done in any order is told in the order in which it was done.
told as (
    select
        funnel,
        grain,
        period_start_on,
        person_number,
        device,
        occurred_at,
        step,
        reached_at,
        previous_reached_at
    from reached
    where
        not is_any_order
        or step = 1

    union all

    select
        funnel,
        grain,
        period_start_on,
        person_number,
        device,
        occurred_at,
        1 + row_number() over chain as step,
        reached_at,
        coalesce(lag(reached_at) over chain, occurred_at) as previous_reached_at
    from reached
    where
        is_any_order
        and step > 1
    window chain as (
        partition by funnel, grain, period_start_on, person_number
        order by reached_at nulls last, step nulls last
    )
)

select
    cast(funnel as string) as funnel,
    cast(grain as string) as grain,
    cast(period_start_on as date) as period_start_on,
    cast(person_number as bigint) as person_number,
    cast(step as bigint) as step,
    cast(device as string) as device,
    cast(occurred_at as timestamp) as entered_at,
    cast(previous_reached_at as timestamp) as previous_reached_at,
    cast(reached_at as timestamp) as reached_at
from told
