{#- Each figure is taken twice: at as_of, and as it stood one window earlier. -#}
with moments as (
    select
        'now' as moment,
        as_of
    from {{ ref('clock') }}
    union all
    select
        'before' as moment,
        as_of - interval '90' day as as_of
    from {{ ref('clock') }}
),

orders as (
    select *
    from {{ ref('orders') }}
    where not is_cancelled
),

-- A window that began before the shop's first order would compare 90 days with fewer.
windows as (
    select
        moments.moment,
        moments.as_of,
        moments.moment = 'now'
        or moments.as_of - interval '90' day >= (select min(ordered_at) from orders) as is_whole
    from moments
),

order_by_moment as (
    select
        moments.moment,
        order_figures.active_customers,
        order_figures.average_order,
        -- No refund at all is no row; one without an exchange rate leaves no figure.
        order_figures.net_amount
        - case when refund_figures.moment is null then 0 else refund_figures.refund_amount end
            as revenue_amount,
        second_orders.n_returned / cast(second_orders.n_customers as double) as second_order_rate,
        month_1.retention_rate as month_1_rate
    from moments
    left join order_figures
        on moments.moment = order_figures.moment
    left join refund_figures
        on moments.moment = refund_figures.moment
    left join second_orders
        on moments.moment = second_orders.moment
    left join month_1
        on
            (moments.moment = 'now' and month_1.is_newest)
            or (moments.moment = 'before' and month_1.is_before)
),

figures as (
    select
        1 as figure_number,
        'active_customers' as figure,
        'Active customers' as label,
        'customers' as unit,
        now.active_customers as value,
        earlier.active_customers as previous_value,
        'Known customers with an order in the last 90 days; before: in the 90 days before those.'
            as explanation
    from by_moment as now
    inner join by_moment as earlier
        on now.moment = 'now' and earlier.moment = 'before'

    union all

    select
        2 as figure_number,
        'revenue' as figure,
        'Revenue, last 90 days' as label,
        'money' as unit,
        now.revenue_amount as value,
        earlier.revenue_amount as previous_value,
        'Net of discounts and of the refunds of the same 90 days, guests included, no tax or shipping.'
            as explanation
    from by_moment as now
    inner join by_moment as earlier
        on now.moment = 'now' and earlier.moment = 'before'

    union all

    select
        3 as figure_number,
        'average_order' as figure,
        'Average order' as label,
        'money' as unit,
        now.average_order as value,
        earlier.average_order as previous_value,
        'Net of discounts, before refunds, over the orders of the last 90 days; before: the 90 before.'
            as explanation
    from by_moment as now
    inner join by_moment as earlier
        on now.moment = 'now' and earlier.moment = 'before'

    union all

    select
        4 as figure_number,
        'second_order_rate' as figure,
        'Back within 90 days' as label,
        'share' as unit,
        now.second_order_rate as value,
        earlier.second_order_rate as previous_value,
        'Share of customers first seen 90 to 180 days ago back within 90 days; before: 180 to 270 ago.'
            as explanation
    from by_moment as now
    inner join by_moment as earlier
        on now.moment = 'now' and earlier.moment = 'before'

    union all

    select
        5 as figure_number,
        'month_1_retention' as figure,
        'Month 1 retention' as label,
        'share' as unit,
        now.month_1_rate as value,
        earlier.month_1_rate as previous_value,
        'Share of the newest mature monthly cohort that ordered in the next month; before: the last one.'
            as explanation
    from by_moment as now
    inner join by_moment as earlier
        on now.moment = 'now' and earlier.moment = 'before'
)

select
    cast(figure_number as integer) as figure_number,
    cast(figure as varchar) as figure,
    cast(label as varchar) as label,
    cast(unit as varchar) as unit,
    cast(value as double) as value,
    cast(previous_value as double) as previous_value,
    cast(explanation as varchar) as explanation
from figures
