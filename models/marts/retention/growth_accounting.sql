with active as (
    select
        days.activity,
        days.customer_id,
        calendar.grain,
        calendar.period_index
    from {{ ref('activity_days') }} as days
    inner join {{ ref('calendar') }} as calendar
        on days.occurred_on = calendar.day_on
    where days.activity in ('order', 'visit')
    group by all
),

neighbours as (
    select
        *,
        lag(period_index) over periods as previous_index,
        lead(period_index) over periods as next_index
    from active
    window periods as (
        partition by activity, grain, customer_id
        order by period_index nulls last
    )
),

-- What an active period is to its customer, and whether the next one is none.
states as (
    select
        activity,
        grain,
        customer_id,
        period_index,
        previous_index is null as is_new,
        previous_index = period_index - 1 as is_retained,
        previous_index < period_index - 1 as is_resurrected,
        coalesce(next_index > period_index + 1, true) as is_leaving
    from neighbours
),

-- Counted first by all segments at once: the customers are read once, not once per type.
together as (
    select
        states.activity,
        states.grain,
        states.period_index,
        segments.country,
        segments.channel,
        segments.first_category,
        segments.first_order_coupon,
        segments.device,
        count_if(states.is_new) as n_new,
        count_if(states.is_retained) as n_retained,
        count_if(states.is_resurrected) as n_resurrected,
        count_if(states.is_leaving) as n_leaving
    from states
    inner join {{ ref('customer_segments') }} as segments
        on states.customer_id = segments.customer_id
    where states.grain <> 'day'
    group by all
),

by_segment as (
    {%- for segment_type, segment in perennial.segment_types() %}
    select
        activity,
        grain,
        period_index,
        '{{ segment_type }}' as segment_type,
        {{ segment }} as segment,
        sum(n_new) as n_new,
        sum(n_retained) as n_retained,
        sum(n_resurrected) as n_resurrected,
        sum(n_leaving) as n_leaving
    from together
    group by all

    union all
    {%- endfor %}

    select
        activity,
        grain,
        period_index,
        'all' as segment_type,
        'all' as segment,
        count_if(is_new) as n_new,
        count_if(is_retained) as n_retained,
        count_if(is_resurrected) as n_resurrected,
        count_if(is_leaving) as n_leaving
    from states
    where grain = 'day'
    group by all
),

periods as (
    select distinct
        grain,
        period_start_on,
        period_index
    from {{ ref('calendar') }}
),

first_periods as (
    select
        activity,
        grain,
        segment_type,
        segment,
        min(period_index) as first_index
    from by_segment
    group by all
),

-- Without a gap up to the period of as_of, so that the row before is the period before.
counted as (
    select
        firsts.activity,
        firsts.grain,
        firsts.segment_type,
        firsts.segment,
        periods.period_start_on,
        case firsts.grain
            when 'day' then {{ perennial.add_days('periods.period_start_on', 1) }}
            when 'week' then {{ perennial.add_days('periods.period_start_on', 7) }}
            else {{ perennial.add_months('periods.period_start_on', 1) }}
        end as period_end_on,
        coalesce(by_segment.n_new, 0) as n_new,
        coalesce(by_segment.n_retained, 0) as n_retained,
        coalesce(by_segment.n_resurrected, 0) as n_resurrected,
        coalesce(by_segment.n_leaving, 0) as n_leaving
    from first_periods as firsts
    inner join periods
        on
            firsts.grain = periods.grain
            and firsts.first_index <= periods.period_index
    left join by_segment
        on
            firsts.activity = by_segment.activity
            and firsts.grain = by_segment.grain
            and firsts.segment_type = by_segment.segment_type
            and firsts.segment = by_segment.segment
            and periods.period_index = by_segment.period_index
),

flows as (
    select
        *,
        n_new + n_retained + n_resurrected as n_active_customers,
        coalesce(lag(n_new + n_retained + n_resurrected) over cells, 0)
            as n_previously_active_customers,
        coalesce(lag(n_leaving) over cells, 0) as n_churned
    from counted
    window cells as (
        partition by activity, grain, segment_type, segment
        order by period_start_on nulls last
    )
),

-- Who churned is dormant from the period after that on, until resurrected.
stocks as (
    select
        flows.*,
        sum(flows.n_new) over cells as n_customers,
        coalesce(
            sum(flows.n_churned) over (
                partition by
                    flows.activity, flows.grain, flows.segment_type, flows.segment
                order by flows.period_start_on nulls last
                rows between unbounded preceding and 1 preceding
            ),
            0
        )
        - sum(flows.n_resurrected) over cells as n_dormant,
        {{ perennial.start_of_day_utc('flows.period_end_on') }}
        <= clock.as_of as is_mature
    from flows
    cross join {{ ref('clock') }} as clock
    window cells as (
        partition by flows.activity, flows.grain, flows.segment_type, flows.segment
        order by flows.period_start_on nulls last
        rows between unbounded preceding and current row
    )
)

select
    cast(activity as string) as activity,
    cast(grain as string) as grain,
    cast(segment_type as string) as segment_type,
    cast(segment as string) as segment,
    cast(period_start_on as date) as period_start_on,
    cast(period_end_on as date) as period_end_on,
    cast(is_mature as boolean) as is_mature,
    cast(n_active_customers as bigint) as n_active_customers_to_date,
    cast(n_new as bigint) as n_new_to_date,
    cast(n_retained as bigint) as n_retained_to_date,
    cast(n_resurrected as bigint) as n_resurrected_to_date,
    -- Null in all of them while the period runs, so that BI may sum them.
    {%- for column in [
        'n_active_customers', 'n_previously_active_customers', 'n_new', 'n_retained',
        'n_resurrected', 'n_churned', 'n_dormant', 'n_customers',
    ] %}
    cast(case when is_mature then {{ column }} end as bigint) as {{ column }},
    {%- endfor %}
    cast(
        case
            when is_mature
                then
                    cast(n_new + n_resurrected as double)
                    / nullif(cast(n_churned as double), 0)
        end as double
    ) as quick_ratio,
    cast(
        case
            when is_mature
                then
                    cast(n_retained as double)
                    / nullif(cast(n_previously_active_customers as double), 0)
        end as double
    ) as retained_rate,
    {%- for side in ['low', 'high'] %}
    cast(
        case
            when
                is_mature
                then {{ perennial.wilson(
                    side, 'n_retained', 'n_previously_active_customers'
                ) }}
        end as double
    ) as retained_rate_{{ side }}{{ ',' if not loop.last }}
    {%- endfor %}
from stocks
