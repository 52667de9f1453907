{%- set lengths = [1, 3, 12] -%}
with months as (
    select distinct
        period_start_on,
        period_index
    from {{ ref('calendar') }}
    where grain = 'month'
),

-- Customers of the same segments are summed up together before they are by each segment.
members as (
    select
        segments.*,
        cast(row_number() over (order by customer_id) as integer)
            as customer_number,
        dense_rank() over (
            order by
                {{ perennial.segment_types() | map('last')
                    | join(' nulls last, ') }} nulls last
        ) as group_number
    from {{ ref('customer_segments') }} as segments
),

combinations as (
    select distinct
        {%- for segment_type, segment in perennial.segment_types() %}
        {{ segment }} as {{ segment_type }}_segment,
        {%- endfor %}
        group_number
    from members
),

facts as (
    select
        periods.customer_id,
        months.period_index,
        periods.n_orders,
        coalesce(periods.revenue_amount, 0) as revenue_amount,
        case when periods.revenue_amount is null then 1 else 0 end as n_unknown
    from {{ ref('customer_periods') }} as periods
    inner join months
        on periods.period_start_on = months.period_start_on
    where periods.grain = 'month'
),

totals as (
    select
        customer_id,
        min(period_index) as first_index,
        max(period_index) as last_index,
        max(period_index) filter (where n_orders > 0) as last_order_index,
        cast(sum(n_orders) as integer) as n_orders,
        cast(sum(revenue_amount) as decimal(18, 2)) as revenue_amount,
        cast(sum(n_unknown) as integer) as n_unknown
    from facts
    group by all
),

-- What a window holds is the difference of two of these. From the first month to the last that
-- ends a window with an order, or holds anything.
so_far as (
    select
        members.customer_number,
        cast(members.group_number as integer) as group_number,
        cast(months.period_index as integer) as period_index,
        totals.n_orders,
        totals.revenue_amount,
        totals.n_unknown,
        cast(sum(facts.n_orders) over customers as integer) as n_orders_so_far,
        cast(sum(facts.revenue_amount) over customers as decimal(18, 2))
            as revenue_amount_so_far,
        cast(sum(facts.n_unknown) over customers as integer) as n_unknown_so_far
    from totals
    inner join members
        on totals.customer_id = members.customer_id
    inner join months
        on
            totals.first_index <= months.period_index
            and greatest(
                totals.last_index, totals.last_order_index + {{ lengths | max - 1 }}
            )
            >= months.period_index
    left join facts
        on
            totals.customer_id = facts.customer_id
            and months.period_index = facts.period_index
    window customers as (
        partition by members.customer_number
        order by months.period_index nulls last
        rows between unbounded preceding and current row
    )
),

-- The window that ends with the month and, as long, the one that follows.
windows as (
    select
        {%- for n in lengths %}
        {%- for measure in ['n_orders', 'revenue_amount', 'n_unknown'] %}
        {{ measure }}_so_far
        - coalesce(lag({{ measure }}_so_far, {{ n }}) over customers, 0)
            as {{ measure }}_base_{{ n }},
        coalesce(lead({{ measure }}_so_far, {{ n }}) over customers, {{ measure }})
        - {{ measure }}_so_far as {{ measure }}_after_{{ n }},
        {%- endfor %}
        {%- endfor %}
        group_number,
        period_index
    from so_far
    window customers as (
        partition by customer_number
        order by period_index nulls last
    )
),

-- Only what a customer brought before can be kept: whose base is not above 0 stands apart.
pairs as (
    {%- for n in lengths %}
    select
        group_number,
        {{ n }} as window_months,
        period_index,
        n_orders_after_{{ n }} > 0 as is_retained,
        n_unknown_base_{{ n }} + n_unknown_after_{{ n }} > 0 as is_unknown,
        revenue_amount_base_{{ n }} > 0 as has_base,
        cast(revenue_amount_base_{{ n }} as decimal(18, 2)) as base,
        cast(revenue_amount_after_{{ n }} as decimal(18, 2)) as after,
        cast(
            least(
                greatest(revenue_amount_after_{{ n }}, 0), revenue_amount_base_{{ n }}
            )
            as decimal(18, 2)
        ) as kept
    from windows
    where n_orders_base_{{ n }} > 0
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

by_group as (
    select
        group_number,
        window_months,
        period_index,
        has_base,
        count(*) as n_customers,
        count_if(is_retained) as n_retained,
        count_if(is_unknown) as n_unknown,
        sum(base) as base,
        sum(after) as after,
        sum(kept) as kept,
        sum(base * base) as base_base,
        sum(after * after) as after_after,
        sum(after * base) as after_base,
        sum(kept * kept) as kept_kept,
        sum(kept * base) as kept_base
    from pairs
    group by all
),

by_segment as (
    {%- for segment_type, _ in perennial.segment_types() %}
    select
        sum(by_group.n_customers) as n_customers,
        sum(by_group.n_retained) as n_retained,
        sum(by_group.n_unknown) as n_unknown,
        coalesce(sum(by_group.n_customers) filter (where by_group.has_base), 0)
            as n_base,
        {%- for amount in ['base', 'after'] %}
        coalesce(sum(by_group.{{ amount }}) filter (where not by_group.has_base), 0)
            as other_{{ amount }},
        {%- endfor %}
        {%- for amount in [
            'base', 'after', 'kept', 'base_base', 'after_after', 'after_base',
            'kept_kept', 'kept_base',
        ] %}
        coalesce(sum(by_group.{{ amount }}) filter (where by_group.has_base), 0)
            as {{ amount }},
        {%- endfor %}
        by_group.window_months,
        '{{ segment_type }}' as segment_type,
        combinations.{{ segment_type }}_segment as segment,
        by_group.period_index
    from by_group
    inner join combinations
        on by_group.group_number = combinations.group_number
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

history as (
    select min(ordered_on) as began_on
    from {{ ref('orders') }}
    where not is_cancelled
),

dated as (
    select
        by_segment.*,
        {{ perennial.add_months(
            'months.period_start_on', '1 - by_segment.window_months'
        ) }} as base_start_on,
        {{ perennial.add_months('months.period_start_on', '1') }} as base_end_on,
        {{ perennial.add_months(
            'months.period_start_on', 'by_segment.window_months + 1'
        ) }} as after_end_on
    from by_segment
    inner join months
        on by_segment.period_index = months.period_index
),

-- Two windows can be compared only if the first lies wholly in the shop's history.
counted as (
    select
        dated.*,
        {{ perennial.start_of_day_utc('dated.after_end_on') }}
        <= clock.as_of as is_mature,
        dated.n_unknown = 0 as is_known
    from dated
    cross join history
    cross join {{ ref('clock') }} as clock
    where
        dated.base_start_on >= history.began_on
        and {{ perennial.start_of_day_utc('dated.base_end_on') }} <= clock.as_of
),

-- What is null here is null in all made of it.
known as (
    select
        {%- for column, condition in [
            ('n_base', 'is_known'), ('base', 'is_known'), ('other_base', 'is_known'),
            ('n_retained', 'is_mature'),
        ] %}
        case when {{ condition }} then {{ column }} end as {{ column }},
        {%- endfor %}
        {%- for column in [
            'after', 'kept', 'other_after', 'base_base', 'after_after', 'after_base',
            'kept_kept', 'kept_base',
        ] %}
        case when is_mature and is_known then {{ column }} end as {{ column }},
        {%- endfor %}
        window_months,
        segment_type,
        segment,
        base_start_on,
        base_end_on,
        after_end_on,
        is_mature,
        n_customers
    from counted
),

measured as (
    select
        *,
        cast(after as double) / nullif(cast(base as double), 0) as net_retention,
        cast(kept as double) / nullif(cast(base as double), 0) as gross_retention,
        {{ perennial.ratio_margin(
            'n_base', 'after', 'base', 'after_after', 'after_base', 'base_base'
        ) }} as net_margin,
        {{ perennial.ratio_margin(
            'n_base', 'kept', 'base', 'kept_kept', 'kept_base', 'base_base'
        ) }} as gross_margin
    from known
)

select
    cast(window_months as integer) as window_months,
    cast(segment_type as string) as segment_type,
    cast(segment as string) as segment,
    cast(base_start_on as date) as base_start_on,
    cast(base_end_on as date) as base_end_on,
    cast(after_end_on as date) as after_end_on,
    cast(is_mature as boolean) as is_mature,
    cast(n_customers as bigint) as n_customers,
    cast(n_base as bigint) as n_base_customers,
    cast(base as decimal(18, 2)) as base_amount,
    cast(after as decimal(18, 2)) as after_amount,
    cast(kept as decimal(18, 2)) as kept_amount,
    cast(net_retention as double) as net_revenue_retention,
    cast(net_retention - net_margin as double) as net_revenue_retention_low,
    cast(net_retention + net_margin as double) as net_revenue_retention_high,
    cast(gross_retention as double) as gross_revenue_retention,
    cast(
        case
            when gross_margin is not null
                then greatest(0.0, gross_retention - gross_margin)
        end as double
    ) as gross_revenue_retention_low,
    cast(
        case
            when gross_margin is not null
                then least(1.0, gross_retention + gross_margin)
        end as double
    ) as gross_revenue_retention_high,
    cast(other_base as decimal(18, 2)) as other_base_amount,
    cast(other_after as decimal(18, 2)) as other_after_amount,
    cast(n_retained as bigint) as retention_numerator,
    cast(case when is_mature then n_customers end as bigint) as retention_denominator,
    cast(cast(n_retained as double) / n_customers as double) as logo_retention_rate,
    cast({{ perennial.wilson('low', 'n_retained', 'n_customers') }} as double)
        as logo_retention_rate_low,
    cast({{ perennial.wilson('high', 'n_retained', 'n_customers') }} as double)
        as logo_retention_rate_high
from measured
