-- In which periods after a start somebody came back, as far as any definition asks: most of
-- them look at a few weeks of many years.
with bases as (
    select
        {{ perennial.retention_base() }} as base,
        definitions.return_event,
        definitions.clock,
        definitions.period_grain,
        case
            when bool_or(definitions.kind = 'unbounded' and definitions.horizon is null)
                then null
            else max(
                greatest(
                    coalesce(definitions.n_periods, 0),
                    coalesce(definitions.horizon, 0),
                    coalesce(brackets.to_period, 0)
                )
            )
        end as last_period
    from {{ ref('retention_definitions') }} as definitions
    left join {{ ref('retention_brackets') }} as brackets
        on definitions.definition = brackets.definition
    group by all
),

calendar_returns as (
    select distinct
        starts.base,
        starts.customer_id,
        starts.cohort_start_on,
        starts.n_periods_passed,
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
    where
        bases.clock = 'calendar'
        and calendar.period_index - starts.start_index
        <= coalesce(bases.last_period, calendar.period_index)
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
        starts.n_periods_passed,
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
    where
        bases.clock = 'rolling'
        and floor(
            {{ perennial.seconds_between('starts.started_at', 'moments.occurred_at') }}
            / {{ perennial.period_seconds('bases.period_grain') }}
        ) <= coalesce(bases.last_period, 1000000)
)

select * from calendar_returns
union all
select * from rolling_returns
