-- In which periods after a start somebody came back.
with bases as (
    select distinct
        {{ perennial.retention_base() }} as base,
        return_event,
        clock,
        period_grain
    from {{ ref('retention_definitions') }}
),

calendar_returns as (
    select distinct
        starts.base,
        starts.customer_id,
        starts.cohort_start_on,
        calendar.period_index - starts.start_index as period_number
    from {{ ref('retention_starts') }} as starts
    inner join bases
        on starts.base = bases.base
    inner join {{ ref('activity_days') }} as days
        on
            starts.customer_id = days.customer_id
            and bases.return_event = days.activity
            and starts.started_at <= days.last_at
    inner join {{ ref('calendar') }} as calendar
        on
            bases.period_grain = calendar.grain
            and days.occurred_on = calendar.day_on
    where bases.clock = 'calendar'
),

moments as (
    {%- for moment in ['first_at', 'last_at'] %}
    select
        customer_id,
        activity,
        {{ moment }} as occurred_at
    from {{ ref('activity_days') }}
    {{ 'union' if not loop.last }}
    {%- endfor %}
),

rolling_returns as (
    select distinct
        starts.base,
        starts.customer_id,
        starts.cohort_start_on,
        cast(floor(
            {{ perennial.seconds_between('starts.started_at', 'moments.occurred_at') }}
            / {{ perennial.period_seconds('bases.period_grain') }}
        ) as bigint) as period_number
    from {{ ref('retention_starts') }} as starts
    inner join bases
        on starts.base = bases.base
    inner join moments
        on
            starts.customer_id = moments.customer_id
            and bases.return_event = moments.activity
            and starts.started_at <= moments.occurred_at
    where bases.clock = 'rolling'
)

select * from calendar_returns
union all
select * from rolling_returns
