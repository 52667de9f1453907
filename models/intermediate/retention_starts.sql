{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.changes('activity_days', 'customer_id') }}
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
with active_days as (
    select *
    from {{ ref('activity_days') }}
    {{ perennial.touched_only('customer_id') }}
),

firsts as (
    select
        customer_id,
        activity,
        min(first_at) as started_at,
        min(occurred_on) as started_on
    from active_days
    group by all
),

-- Everyone who did it in a period starts anew in that period, with the first time in it.
by_period as (
    select
        days.customer_id,
        days.activity,
        calendar.grain,
        calendar.period_start_on,
        min(days.first_at) as started_at,
        min(days.occurred_on) as started_on
    from active_days as days
    inner join {{ ref('calendar') }} as calendar
        on days.occurred_on = calendar.day_on
    inner join (
        select distinct
            start_event,
            cohort_grain
        from {{ ref('retention_bases') }}
        where starts = 'each'
    ) as wanted
        on
            days.activity = wanted.start_event
            and calendar.grain = wanted.cohort_grain
    group by all
),

starts as (
    select
        bases.*,
        firsts.customer_id,
        firsts.started_at,
        firsts.started_on
    from {{ ref('retention_bases') }} as bases
    inner join firsts
        on bases.start_event = firsts.activity
    where bases.starts = 'first'

    union all

    select
        bases.*,
        by_period.customer_id,
        by_period.started_at,
        by_period.started_on
    from {{ ref('retention_bases') }} as bases
    inner join by_period
        on
            bases.start_event = by_period.activity
            and bases.cohort_grain = by_period.grain
    where bases.starts = 'each'
)

select
    cast(starts.base_number as bigint) as base_number,
    cast(starts.customer_id as string) as customer_id,
    cast(cohorts.period_start_on as date) as cohort_start_on,
    cast(starts.started_at as timestamp) as started_at,
    cast(periods.period_index as bigint) as start_index
from starts
inner join {{ ref('calendar') }} as cohorts
    on
        starts.cohort_grain = cohorts.grain
        and starts.started_on = cohorts.day_on
inner join {{ ref('calendar') }} as periods
    on
        starts.period_grain = periods.grain
        and starts.started_on = periods.day_on
