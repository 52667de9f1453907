{%- set longest = perennial.parity_periods() -%}
{%- set near_days = {
    'day': longest.day + 2, 'week': 7 * longest.week + 14, 'month': 31 * longest.month + 62
} -%}
-- What three marts count from, so that the activity is read once.
with activities as (
    {%- for activity, start_event, return_event in perennial.parity_activities() %}
    select
        '{{ activity }}' as activity,
        '{{ start_event }}' as start_event,
        '{{ return_event }}' as return_event
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

firsts as (
    select
        customer_id,
        activity as start_event,
        min(first_at) as started_at,
        min(occurred_on) as started_on
    from {{ ref('activity_days') }}
    where activity in (select activities.start_event from activities)
    group by all
),

starts as (
    select
        activities.activity,
        activities.return_event,
        firsts.*
    from firsts
    inner join activities
        on firsts.start_event = activities.start_event
),

-- Windows of 24 hours end once in a day of UTC, rounded down to the hour or not: its first and
-- last moment tell all periods in which something happened. What happened on the start's day
-- before the start is passed over; what is left of that day lies in period 0.
returns as (
    select
        starts.activity,
        starts.customer_id,
        starts.started_at,
        starts.started_on,
        greatest(days.first_at, starts.started_at) as first_at,
        days.last_at,
        days.occurred_on,
        lag(days.last_at) over earlier as previous_at,
        lag(days.occurred_on) over earlier as previous_on,
        -- The start is no return to itself.
        starts.start_event <> starts.return_event
        or days.first_at > starts.started_at
        or days.n_times > 1 as is_again
    from starts
    inner join {{ ref('activity_days') }} as days
        on
            starts.customer_id = days.customer_id
            and starts.return_event = days.activity
            and starts.started_at <= days.last_at
    window earlier as (
        partition by starts.activity, starts.customer_id
        order by days.first_at asc nulls last
    )
),

ends as (
    select
        activity,
        customer_id,
        min(started_at) as started_at,
        min(started_on) as started_on,
        max(last_at) as last_at,
        max(occurred_on) as last_on,
        min(first_at) filter (where is_again) as again_at,
        min(occurred_on) filter (where is_again) as again_on
    from returns
    group by all
),

-- No period comes before that of an earlier return: it is new where the last return before lies
-- in another one.
hits as (
    {%- for grain, windows in perennial.parity_windows() %}
    {%- set is_of_moments = windows in ['moments', 'hours'] %}
    {%- for at, previous_at, previous_on in [
        ('first_at', 'previous_at', 'previous_on'), ('last_at', 'first_at', 'occurred_on')
    ] if is_of_moments or at == 'first_at' %}
    {%- set period = perennial.parity_period(
        grain, windows, 'started_at', 'started_on', at, 'occurred_on'
    ) %}
    select
        activity,
        '{{ grain }}' as period_grain,
        '{{ windows }}' as windows,
        {{ perennial.period_start(grain, 'started_on') }} as cohort_start_on,
        cast({{ period }} as bigint) as period_number,
        count(*) as n_on
    from returns
    where
        cast(occurred_on - started_on as integer) <= {{ near_days[grain] }}
        and (
            {{ previous_at }} is null
            or {{ period }} <> {{ perennial.parity_period(
                grain, windows, 'started_at', 'started_on', previous_at, previous_on
            ) }}
        )
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

hit_counts as (
    select
        activity,
        period_grain,
        windows,
        cohort_start_on,
        period_number,
        sum(n_on) as n_on
    from hits
    group by all
),

-- Who came back last in a period came back on or after all before it.
end_counts as (
    {%- for grain, windows in perennial.parity_windows() %}
    select
        activity,
        '{{ grain }}' as period_grain,
        '{{ windows }}' as windows,
        {{ perennial.period_start(grain, 'started_on') }} as cohort_start_on,
        cast(least(
            {{ longest[grain] }},
            {{ perennial.parity_period(
                grain, windows, 'started_at', 'started_on', 'last_at', 'last_on'
            ) }}
        ) as bigint) as period_number,
        count(*) as n_last,
        count(again_at) as n_last_again,
        count_if({{ perennial.parity_period(
            grain, windows, 'started_at', 'started_on', 'again_at', 'again_on'
        ) }} = 0) as n_again_at_once
    from ends
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

cohorts as (
    {%- for grain in longest %}
    select
        activity,
        '{{ grain }}' as period_grain,
        {{ perennial.period_start(grain, 'started_on') }} as cohort_start_on,
        count(*) as n_customers
    from starts
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

spans as (
    select
        cohorts.*,
        clock.as_of,
        clock.as_of_on,
        case cohorts.period_grain
            when 'day' then {{ perennial.add_days('cohorts.cohort_start_on', 1) }}
            when 'week' then {{ perennial.add_days('cohorts.cohort_start_on', 7) }}
            else {{ perennial.add_months('cohorts.cohort_start_on', 1) }}
        end as cohort_end_on
    from cohorts
    cross join {{ ref('clock') }} as clock
),

bounds as (
    select
        *,
        {{ perennial.add_days('cohort_end_on', -1) }} as last_day_on,
        {{ perennial.start_of_day_utc('cohort_start_on') }} as cohort_start_at,
        {{ perennial.start_of_day_utc('cohort_end_on') }} as cohort_end_at
    from spans
),

-- How many periods have begun for whoever can have joined first, and how many have wholly
-- passed for whoever can have joined last.
ages as (
    {%- for grain, windows in perennial.parity_windows() %}
    select
        activity,
        period_grain,
        '{{ windows }}' as windows,
        cohort_start_on,
        n_customers,
        cast({{ perennial.parity_period(
            grain, windows, 'cohort_start_at', 'cohort_start_on', 'as_of', 'as_of_on'
        ) }} as bigint) as n_begun,
        cast(
            {%- if windows in ['moments', 'hours'] %}
            {{ perennial.parity_period(
                grain, 'moments', 'cohort_end_at', 'cohort_end_on', 'as_of', 'as_of_on'
            ) }}
            {%- else %}
            {{ perennial.parity_period(
                grain, windows, 'last_day_at', 'last_day_on', 'as_of', 'as_of_on'
            ) }}
            {%- endif %}
            as bigint
        ) as n_passed
    from bounds
    where period_grain = '{{ grain }}'
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

period_numbers as (
    {{ perennial.numbers(0, longest.values() | max) }}
),

-- All ways of cutting have the same cells, so that they can be compared.
cells as (
    select
        ages.activity,
        ages.period_grain,
        ages.windows,
        ages.cohort_start_on,
        numbers.n as period_number,
        ages.n_customers,
        numbers.n <= ages.n_begun as is_begun,
        numbers.n < ages.n_passed as is_mature
    from (
        select
            *,
            max(n_begun) over (
                partition by activity, period_grain, cohort_start_on
            ) as n_begun_anyhow
        from ages
    ) as ages
    inner join period_numbers as numbers
        on
            ages.n_begun_anyhow >= numbers.n
            and case ages.period_grain
                {%- for grain, periods in longest.items() %}
                when '{{ grain }}' then {{ periods }}
                {%- endfor %}
            end >= numbers.n
),

counted as (
    select
        cells.*,
        coalesce(hits.n_on, 0) as n_on,
        sum(coalesce(ends.n_last, 0)) over later as n_on_or_after,
        sum(coalesce(ends.n_last_again, 0)) over later as n_again_on_or_after,
        sum(coalesce(ends.n_again_at_once, 0)) over later as n_again_at_once
    from cells
    left join hit_counts as hits
        on
            cells.activity = hits.activity
            and cells.period_grain = hits.period_grain
            and cells.windows = hits.windows
            and cells.cohort_start_on = hits.cohort_start_on
            and cells.period_number = hits.period_number
    left join end_counts as ends
        on
            cells.activity = ends.activity
            and cells.period_grain = ends.period_grain
            and cells.windows = ends.windows
            and cells.cohort_start_on = ends.cohort_start_on
            and cells.period_number = ends.period_number
    window later as (
        partition by
            cells.activity, cells.period_grain, cells.windows, cells.cohort_start_on
        order by cells.period_number desc
        rows between unbounded preceding and current row
    )
)

select
    cast(activity as string) as activity,
    cast(period_grain as string) as period_grain,
    cast(windows as string) as windows,
    cast(cohort_start_on as date) as cohort_start_on,
    cast(period_number as bigint) as period_number,
    cast(n_customers as bigint) as n_customers,
    cast(n_on as bigint) as n_on,
    cast(case when period_number = 0 then n_again_at_once else n_on end as bigint)
        as n_again_on,
    cast(n_on_or_after as bigint) as n_on_or_after,
    cast(n_again_on_or_after as bigint) as n_again_on_or_after,
    cast(is_begun as boolean) as is_begun,
    cast(is_mature as boolean) as is_mature
from counted
