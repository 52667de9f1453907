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

order_figures as (
    select
        moments.moment,
        count(distinct orders.customer_id) as active_customers,
        coalesce(sum(orders.net_amount), 0) as net_amount,
        avg(orders.net_amount) as average_order
    from moments
    inner join orders
        on
            orders.ordered_at <= moments.as_of
            and orders.ordered_at > moments.as_of - interval '90' day
    group by all
),

refund_figures as (
    select
        moments.moment,
        sum(refunds.amount) as refund_amount
    from moments
    inner join {{ ref('refunds') }} as refunds
        on
            refunds.refunded_at <= moments.as_of
            and refunds.refunded_at > moments.as_of - interval '90' day
    where not refunds.is_order_cancelled
    group by all
),

-- Only customers whose 90 days have passed: the others could not have come back in time.
second_orders as (
    select
        moments.moment,
        count(*) as n_customers,
        count_if(exists(
            select 1
            from orders
            where
                orders.customer_id = customers.customer_id
                and orders.order_number = 2
                and orders.ordered_at <= customers.first_ordered_at + interval '90' day
        )) as n_returned
    from moments
    inner join {{ ref('customers') }} as customers
        on
            customers.first_ordered_at <= moments.as_of - interval '90' day
            and customers.first_ordered_at > moments.as_of - interval '180' day
    group by all
),

month_1 as (
    select
        retention_rate,
        row_number() over (order by cohort_start_on desc) as place
    from {{ ref('cohort_retention') }}
    where
        grain = 'month'
        and segment_type = 'all'
        and period_number = 1
        and is_mature
),

figures as (
    select
        1 as figure_number,
        'active_customers' as figure,
        'Active customers' as label,
        'customers' as unit,
        (select active_customers from order_figures where moment = 'now') as value,
        (select active_customers from order_figures where moment = 'before') as previous_value,
        'Known customers with an order in the last 90 days; before: in the 90 days before those.'
            as explanation

    union all

    select
        2,
        'revenue',
        'Revenue, last 90 days',
        'money',
        (select net_amount from order_figures where moment = 'now')
        - coalesce((select refund_amount from refund_figures where moment = 'now'), 0),
        (select net_amount from order_figures where moment = 'before')
        - coalesce((select refund_amount from refund_figures where moment = 'before'), 0),
        'Net of discounts and of the refunds of the same 90 days, without tax and shipping; guests included.'

    union all

    select
        3,
        'average_order',
        'Average order',
        'money',
        (select average_order from order_figures where moment = 'now'),
        (select average_order from order_figures where moment = 'before'),
        'Net of discounts, before refunds, over the orders of the last 90 days; before: of the 90 days before those.'

    union all

    select
        4,
        'second_order_rate',
        'Back within 90 days',
        'share',
        (select n_returned / cast(n_customers as double) from second_orders where moment = 'now'),
        (select n_returned / cast(n_customers as double) from second_orders where moment = 'before'),
        'Share of the customers first seen 90 to 180 days ago who ordered again within 90 days; before: 180 to 270 days ago.'

    union all

    select
        5,
        'month_1_retention',
        'Month 1 retention',
        'share',
        (select retention_rate from month_1 where place = 1),
        (select retention_rate from month_1 where place = 2),
        'Share of the newest mature monthly cohort that ordered in the month after its first; before: the cohort before it.'
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
