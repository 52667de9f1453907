{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.changes('activity_days', 'customer_id') }}
    union
    {{ perennial.changes('retention_starts', 'customer_id') }}
    -- A definition asks for something else: everyone.
    union
    select days.customer_id
    from {{ ref('activity_days') }} as days
    where exists (
        {{ perennial.changes('retention_bases', 'base_number') }}
    )
    -- A day that the calendar did not have.
    union
    select days.customer_id
    from {{ ref('activity_days') }} as days
    where days.occurred_on in (
        select cast(split_part(changed.grain_and_day, ' ', 2) as date)
        from ({{ perennial.changes('calendar', 'grain_and_day') }}) as changed
    )
{%- endcall %}
-- In which periods after a start somebody came back, as far as any definition asks.
with starts as (
    select *
    from {{ ref('retention_starts') }}
    {{ perennial.touched_only('customer_id') }}
),

active_days as (
    select *
    from {{ ref('activity_days') }}
    {{ perennial.touched_only('customer_id') }}
),

-- Once for all starts: whoever did it in a period after a start did it last after it, too.
active_periods as (
    select
        days.customer_id,
        days.activity,
        calendar.grain,
        calendar.period_index,
        max(days.last_at) as last_at
    from active_days as days
    inner join {{ ref('calendar') }} as calendar
        on days.occurred_on = calendar.day_on
    inner join (
        select distinct
            return_event,
            period_grain
        from {{ ref('retention_bases') }}
        where clock = 'calendar'
    ) as wanted
        on
            days.activity = wanted.return_event
            and calendar.grain = wanted.period_grain
    group by all
),

calendar_returns as (
    select
        starts.base_number,
        starts.customer_id,
        starts.cohort_start_on,
        starts.started_at,
        starts.start_index,
        periods.period_index - starts.start_index as period_number
    from starts
    inner join {{ ref('retention_bases') }} as bases
        on starts.base_number = bases.base_number
    inner join active_periods as periods
        on
            starts.customer_id = periods.customer_id
            and bases.return_event = periods.activity
            and bases.period_grain = periods.grain
            and starts.started_at <= periods.last_at
    where
        bases.clock = 'calendar'
        and periods.period_index - starts.start_index
        <= coalesce(bases.last_period, periods.period_index)
),

moments as (
    {%- for moment in ['first_at', 'last_at'] %}
    select
        customer_id,
        activity,
        {{ moment }} as occurred_at
    from active_days
    {{ 'union' if not loop.last }}
    {%- endfor %}
),

rolling_returns as (
    select distinct
        starts.base_number,
        starts.customer_id,
        starts.cohort_start_on,
        starts.started_at,
        starts.start_index,
        cast(floor(
            {{ perennial.seconds_between('starts.started_at', 'moments.occurred_at') }}
            / {{ perennial.period_seconds('bases.period_grain') }}
        ) as bigint) as period_number
    from starts
    inner join {{ ref('retention_bases') }} as bases
        on starts.base_number = bases.base_number
    inner join moments
        on
            starts.customer_id = moments.customer_id
            and bases.return_event = moments.activity
            and starts.started_at <= moments.occurred_at
    where
        bases.clock = 'rolling'
        and floor(
            {{ perennial.seconds_between('starts.started_at', 'moments.occurred_at') }}
            / {{ perennial.period_seconds('bases.period_grain') }}
        ) <= coalesce(bases.last_period, 1000000)
),

returns as (
    select * from calendar_returns
    union all
    select * from rolling_returns
)

select
    cast(base_number as bigint) as base_number,
    cast(customer_id as string) as customer_id,
    cast(cohort_start_on as date) as cohort_start_on,
    cast(started_at as timestamp) as started_at,
    cast(start_index as bigint) as start_index,
    cast(period_number as bigint) as period_number
from returns
