with costs as (
    {%- for grain in ['week', 'month'] %}
    select
        customer_id,
        '{{ grain }}' as grain,
        {{ perennial.period_start(grain, 'happened_on') }} as period_start_on,
        {{ perennial.complete_sum('sales_amount') }} as sales_amount,
        {{ perennial.complete_sum('costed_sales_amount') }} as costed_sales_amount,
        {{ perennial.complete_sum('cost_amount') }} as cost_amount
    from {{ ref('goods_costs') }}
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- A refund from before the period of the first order is of no cohort.
running as (
    select
        customer_id,
        grain,
        cohort_start_on,
        period_start_on,
        period_number,
        n_orders,
        revenue_amount,
        sum(n_orders) over so_far as n_orders_so_far,
        cast(sum(revenue_amount) over so_far as decimal(18, 2)) as revenue_so_far
    from {{ ref('customer_periods') }}
    where period_number >= 0
    window so_far as (
        partition by customer_id, grain
        order by period_number nulls last
        rows between unbounded preceding and current row
    )
),

-- By how much a period raises a customer's square is enough to know the sum of squares of all
-- periods so far without going through the customers again.
periods as (
    select
        running.grain,
        running.cohort_start_on,
        running.period_number,
        running.n_orders,
        running.revenue_amount,
        running.revenue_amount
        * cast(
            2 * running.revenue_so_far - running.revenue_amount as decimal(18, 2)
        ) as added_square,
        running.n_orders_so_far >= 2
        and running.n_orders_so_far - running.n_orders < 2 as is_second_order,
        case when costs.customer_id is null then 0 else costs.sales_amount end
            as sales_amount,
        case when costs.customer_id is null then 0 else costs.costed_sales_amount end
            as costed_sales_amount,
        case when costs.customer_id is null then 0 else costs.cost_amount end
            as cost_amount,
        segments.*
    from running
    inner join {{ ref('customer_segments') }} as segments
        on running.customer_id = segments.customer_id
    left join costs
        on
            running.customer_id = costs.customer_id
            and running.grain = costs.grain
            and running.period_start_on = costs.period_start_on
),

-- A week's newcomers are too few to be told apart by segment.
activity as (
    {%- for segment_type, segment in perennial.segment_types() %}
    select
        grain,
        '{{ segment_type }}' as segment_type,
        {{ segment }} as segment,
        cohort_start_on,
        period_number,
        count(*) as n_customers,
        sum(n_orders) as n_orders,
        count_if(is_second_order) as n_second_orders,
        {{ perennial.complete_sum('revenue_amount') }} as revenue_amount,
        {{ perennial.complete_sum('added_square') }} as added_square,
        {{ perennial.complete_sum('sales_amount') }} as sales_amount,
        {{ perennial.complete_sum('costed_sales_amount') }} as costed_sales_amount,
        {{ perennial.complete_sum('revenue_amount - cost_amount') }}
            as contribution_margin_amount
    from periods
    {{ "where grain = 'month'" if segment_type != 'all' }}
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- Everybody of a cohort ordered in its own period.
cohorts as (
    select
        grain,
        segment_type,
        segment,
        cohort_start_on,
        n_customers
    from activity
    where period_number = 0
),

history as (
    select
        coalesce(max(cast(clock.as_of_on - cohorts.cohort_start_on as integer)), 0)
            as n_days
    from cohorts
    cross join {{ ref('clock') }} as clock
),

-- Enough for the oldest cohort in the finest grain, which is the week.
period_numbers as (
    {{ perennial.numbers(
        0, '(select cast(floor(n_days / 7) as bigint) + 1 from history)'
    ) }}
),

-- Every period from the cohort's own to the one that as_of lies in, bought in or not.
cells as (
    {%- for grain in ['week', 'month'] %}
    select
        cohorts.*,
        numbers.n as period_number,
        {{ perennial.add_periods(grain, 'cohorts.cohort_start_on', 'numbers.n') }}
            as period_start_on,
        {{ perennial.add_periods(grain, 'cohorts.cohort_start_on', 'numbers.n + 1') }}
            as period_end_on
    from cohorts
    cross join {{ ref('clock') }} as clock
    inner join period_numbers as numbers
        on
            numbers.n <= {{ perennial.periods_between(
                grain, 'cohorts.cohort_start_on', perennial.period_start(grain, 'clock.as_of_on')
            ) }}
    where cohorts.grain = '{{ grain }}'
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

counted as (
    select
        cells.*,
        {%- for amount in [
            'revenue_amount', 'added_square', 'sales_amount', 'costed_sales_amount',
            'contribution_margin_amount',
        ] %}
        case
            when activity.cohort_start_on is null then 0 else activity.{{ amount }}
        end as {{ amount }},
        {%- endfor %}
        coalesce(activity.n_orders, 0) as n_orders,
        coalesce(activity.n_second_orders, 0) as n_second_orders,
        {{ perennial.start_of_day_utc('cells.period_end_on') }}
        <= clock.as_of as is_mature
    from cells
    cross join {{ ref('clock') }} as clock
    left join activity
        on
            cells.grain = activity.grain
            and cells.segment_type = activity.segment_type
            and cells.segment = activity.segment
            and cells.cohort_start_on = activity.cohort_start_on
            and cells.period_number = activity.period_number
),

-- What is null in the immature cell, which is a cohort's last, is null in all made of it.
mature as (
    select
        {%- for measure in [
            'n_orders', 'n_second_orders', 'revenue_amount', 'added_square',
            'sales_amount', 'costed_sales_amount', 'contribution_margin_amount',
        ] %}
        case when is_mature then {{ measure }} end as {{ measure }},
        {%- endfor %}
        grain,
        segment_type,
        segment,
        cohort_start_on,
        period_number,
        period_start_on,
        period_end_on,
        is_mature,
        n_customers,
        n_orders as n_orders_to_date,
        revenue_amount as revenue_amount_to_date,
        contribution_margin_amount as contribution_margin_amount_to_date
    from counted
),

cumulative as (
    select
        *,
        {{ perennial.complete_running_sum('n_orders', 'so_far') }}
            as cumulative_n_orders,
        {{ perennial.complete_running_sum('n_second_orders', 'so_far') }}
            as n_repeat_customers,
        {{ perennial.complete_running_sum('revenue_amount', 'so_far') }}
            as cumulative_revenue_amount,
        {{ perennial.complete_running_sum('added_square', 'so_far') }}
            as cumulative_revenue_squares,
        {{ perennial.complete_running_sum('contribution_margin_amount', 'so_far') }}
            as cumulative_contribution_margin_amount
    from mature
    window so_far as (
        partition by grain, segment_type, segment, cohort_start_on
        order by period_number nulls last
        rows between unbounded preceding and current row
    )
),

measured as (
    select
        *,
        cast(cumulative_revenue_amount as double) / n_customers as revenue_per_customer,
        {{ perennial.mean_margin(
            'n_customers', 'cumulative_revenue_amount', 'cumulative_revenue_squares'
        ) }} as revenue_per_customer_margin
    from cumulative
)

select
    cast(grain as string) as grain,
    cast(segment_type as string) as segment_type,
    cast(segment as string) as segment,
    cast(cohort_start_on as date) as cohort_start_on,
    cast(period_number as bigint) as period_number,
    cast(period_start_on as date) as period_start_on,
    cast(period_end_on as date) as period_end_on,
    cast(is_mature as boolean) as is_mature,
    cast(n_customers as bigint) as n_customers,
    cast(n_orders_to_date as bigint) as n_orders_to_date,
    cast(revenue_amount_to_date as decimal(18, 2)) as revenue_amount_to_date,
    cast(contribution_margin_amount_to_date as decimal(18, 2))
        as contribution_margin_amount_to_date,
    cast(n_orders as bigint) as n_orders,
    cast(sales_amount as decimal(18, 2)) as sales_amount,
    cast(revenue_amount as decimal(18, 2)) as revenue_amount,
    cast(costed_sales_amount as decimal(18, 2)) as costed_sales_amount,
    cast(
        cast(costed_sales_amount as double) / nullif(cast(sales_amount as double), 0)
        as double
    ) as costed_sales_share,
    cast(contribution_margin_amount as decimal(18, 2)) as contribution_margin_amount,
    cast({{ perennial.share('sales_amount', '1', 'n_orders') }} as decimal(18, 2))
        as average_order_amount,
    cast(cumulative_n_orders as bigint) as cumulative_n_orders,
    cast(cumulative_revenue_amount as decimal(18, 2)) as cumulative_revenue_amount,
    cast(cumulative_revenue_squares as decimal(38, 4)) as cumulative_revenue_squares,
    cast(cumulative_contribution_margin_amount as decimal(18, 2))
        as cumulative_contribution_margin_amount,
    cast(revenue_per_customer as double) as cumulative_revenue_per_customer,
    cast(revenue_per_customer - revenue_per_customer_margin as double)
        as cumulative_revenue_per_customer_low,
    cast(revenue_per_customer + revenue_per_customer_margin as double)
        as cumulative_revenue_per_customer_high,
    cast(cast(cumulative_n_orders as double) / n_customers as double)
        as orders_per_customer,
    cast(n_repeat_customers as bigint) as repeat_numerator,
    cast(case when is_mature then n_customers end as bigint) as repeat_denominator,
    cast(cast(n_repeat_customers as double) / n_customers as double)
        as repeat_purchase_rate,
    cast(
        {{ perennial.wilson('low', 'n_repeat_customers', 'n_customers') }} as double
    ) as repeat_purchase_rate_low,
    cast(
        {{ perennial.wilson('high', 'n_repeat_customers', 'n_customers') }} as double
    ) as repeat_purchase_rate_high
from measured
