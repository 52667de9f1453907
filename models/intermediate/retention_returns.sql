-- In which periods after a start somebody came back, as far as any definition asks: most of
-- them look at a few weeks of many years.
with definitions as (
    select
        *,
        {{ perennial.base_number() | indent(8) }} as base_number
    from {{ ref('retention_definitions') }}
),

bases as (
    select
        definitions.base_number,
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
    from definitions
    left join {{ ref('retention_brackets') }} as brackets
        on definitions.definition = brackets.definition
    group by all
),

-- Once for all starts: whoever did it in a period after a start did it last after it, too.
active_periods as (
    select
        days.customer_id,
        days.activity,
        calendar.grain,
        calendar.period_index,
        max(days.last_at) as last_at
    from {{ ref('activity_days') }} as days
    inner join {{ ref('calendar') }} as calendar
        on days.occurred_on = calendar.day_on
    inner join (
        select distinct
            return_event,
            period_grain
        from bases
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
        starts.n_periods_passed,
        periods.period_index - starts.start_index as period_number
    from {{ ref('retention_starts') }} as starts
    inner join bases
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
    from {{ ref('activity_days') }}
    {{ 'union' if not loop.last }}
    {%- endfor %}
),

rolling_returns as (
    select distinct
        starts.base_number,
        starts.customer_id,
        starts.cohort_start_on,
        starts.n_periods_passed,
        cast(floor(
            {{ perennial.seconds_between('starts.started_at', 'moments.occurred_at') }}
            / {{ perennial.period_seconds('bases.period_grain') }}
        ) as bigint) as period_number
    from {{ ref('retention_starts') }} as starts
    inner join bases
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
)

select * from calendar_returns
union all
select * from rolling_returns
