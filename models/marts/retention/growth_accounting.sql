{%- set grains = ['day', 'week', 'month'] -%}
with days as (
    select distinct
        activity,
        customer_id,
        occurred_on as day_on
    from {{ ref('activity_days') }}
    where activity in ('order', 'visit')
),

neighbours as (
    select
        activity,
        customer_id,
        day_on,
        lag(day_on) over customer_days as previous_on,
        lead(day_on) over customer_days as next_on
    from days
    window customer_days as (
        partition by activity, customer_id
        order by day_on
    )
),

indexes as (
    select
        {%- for grain in grains %}
        max(period_index) filter (where grain = '{{ grain }}') as {{ grain }}_index,
        {%- endfor %}
        day_on
    from {{ ref('calendar') }}
    group by all
),

-- Of a customer's days in a period only the first has the day before in another period,
-- only the last the day after: no more is needed to tell periods from days.
placed as (
    select
        {%- for grain in grains %}
        here.{{ grain }}_index,
        earlier.{{ grain }}_index as previous_{{ grain }}_index,
        later.{{ grain }}_index as next_{{ grain }}_index,
        {%- endfor %}
        neighbours.activity,
        neighbours.customer_id
    from neighbours
    inner join indexes as here
        on neighbours.day_on = here.day_on
    left join indexes as earlier
        on neighbours.previous_on = earlier.day_on
    left join indexes as later
        on neighbours.next_on = later.day_on
),

-- Counted first by all segments at once: the customers are read once, not once per type.
together as (
    select
        {%- for grain in ['week', 'month'] %}
        placed.{{ grain }}_index,
        count_if(placed.previous_{{ grain }}_index is null) as {{ grain }}_new,
        count_if(placed.previous_{{ grain }}_index = placed.{{ grain }}_index - 1)
            as {{ grain }}_retained,
        count_if(placed.previous_{{ grain }}_index < placed.{{ grain }}_index - 1)
            as {{ grain }}_resurrected,
        count_if(
            coalesce(placed.next_{{ grain }}_index > placed.{{ grain }}_index + 1, true)
        ) as {{ grain }}_leaving,
        {%- endfor %}
        {%- for segment_type, segment in perennial.segment_types() %}
        {{ segment }} as {{ segment_type }}_segment,
        {%- endfor %}
        placed.activity
    from placed
    inner join {{ ref('customer_segments') }} as segments
        on placed.customer_id = segments.customer_id
    group by all
),

by_segment as (
    {%- for grain in ['week', 'month'] %}
    {%- for segment_type, _ in perennial.segment_types() %}
    select
        activity,
        '{{ grain }}' as grain,
        {{ grain }}_index as period_index,
        '{{ segment_type }}' as segment_type,
        {{ segment_type }}_segment as segment,
        sum({{ grain }}_new) as n_new,
        sum({{ grain }}_retained) as n_retained,
        sum({{ grain }}_resurrected) as n_resurrected,
        sum({{ grain }}_leaving) as n_leaving
    from together
    group by all

    union all
    {%- endfor %}
    {%- endfor %}

    select
        activity,
        'day' as grain,
        day_index as period_index,
        'all' as segment_type,
        'all' as segment,
        count_if(previous_day_index is null) as n_new,
        count_if(previous_day_index = day_index - 1) as n_retained,
        count_if(previous_day_index < day_index - 1) as n_resurrected,
        count_if(coalesce(next_day_index > day_index + 1, true)) as n_leaving
    from placed
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
    cast(
        case
            when
                is_mature
                then {{ perennial.wilson(
                    'low', 'n_retained', 'n_previously_active_customers'
                ) }}
        end as double
    ) as retained_rate_low,
    cast(
        case
            when
                is_mature
                then {{ perennial.wilson(
                    'high', 'n_retained', 'n_previously_active_customers'
                ) }}
        end as double
    ) as retained_rate_high
from stocks
