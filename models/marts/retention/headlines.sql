{%- set figures = [
    ('active_customers', 'Active customers', 'customers',
     'Known customers with an order in the last 90 days; before: in the 90 days before.'),
    ('revenue', 'Revenue, last 90 days', 'money',
     'Net of discounts and of the refunds of the same 90 days, guests included, without tax'
     ~ ' and shipping; before: the 90 days before.'),
    ('average_order', 'Average order', 'money',
     'Net of discounts, before refunds, over the orders of the last 90 days; before: of the'
     ~ ' 90 days before.'),
    ('second_order_rate', 'Back within 90 days', 'share',
     'Share of the customers first seen 90 to 180 days ago who ordered again within 90 days;'
     ~ ' before: first seen 180 to 270 days ago.'),
    ('month_1_retention', 'Month 1 retention', 'share',
     'Share of the newest mature monthly cohort that ordered in the month after its first;'
     ~ ' before: the cohort of the month before.'),
] -%}
-- Each figure is taken twice: at as_of, and as it stood one window of 90 days earlier.
with moments as (
    select
        'now' as moment,
        as_of,
        as_of - interval '90' day as window_began_at
    from {{ ref('clock') }}

    union all

    select
        'before' as moment,
        as_of - interval '90' day as as_of,
        as_of - interval '180' day as window_began_at
    from {{ ref('clock') }}
),

orders as (
    select *
    from {{ ref('orders') }}
    where not is_cancelled
),

shop as (
    select min(ordered_at) as opened_at
    from orders
),

order_figures as (
    select
        moments.moment,
        count(distinct orders.customer_id) as active_customers,
        sum(orders.net_amount) / cast(nullif(count(orders.net_amount), 0) as double)
            as average_order,
        -- No order is no revenue; an order without an exchange rate leaves no figure.
        case
            when count(orders.order_id) = count(orders.net_amount)
                then coalesce(sum(orders.net_amount), 0)
        end as net_amount
    from moments
    cross join shop
    left join orders
        on
            moments.as_of >= orders.ordered_at
            and moments.window_began_at < orders.ordered_at
    -- A window from before the shop opened would compare 90 days with fewer.
    where moments.moment = 'now' or moments.window_began_at >= shop.opened_at
    group by all
),

refund_figures as (
    select
        moments.moment,
        case
            when count(refunds.refund_id) = count(refunds.amount)
                then coalesce(sum(refunds.amount), 0)
        end as refund_amount
    from moments
    left join {{ ref('refunds') }} as refunds
        on
            moments.as_of >= refunds.refunded_at
            and moments.window_began_at < refunds.refunded_at
            and not refunds.is_order_cancelled
    group by all
),

-- Only customers whose 90 days have passed: the others could not have come back in time.
newcomers as (
    select
        moments.moment,
        customers.first_ordered_at,
        second_orders.ordered_at as second_ordered_at
    from moments
    cross join shop
    inner join {{ ref('customers') }} as customers
        on
            moments.window_began_at >= customers.first_ordered_at
            and moments.window_began_at - interval '90' day < customers.first_ordered_at
    left join orders as second_orders
        on
            customers.customer_id = second_orders.customer_id
            and second_orders.order_number = 2
    where moments.window_began_at - interval '90' day >= shop.opened_at
),

newcomer_figures as (
    select
        moment,
        count_if(second_ordered_at <= first_ordered_at + interval '90' day)
        / cast(count(*) as double) as second_order_rate
    from newcomers
    group by all
),

month_1_cells as (
    select
        retention_rate,
        cohort_start_on,
        max(cohort_start_on) over () as newest_cohort_on
    from {{ ref('cohort_retention') }}
    where
        grain = 'month'
        and segment_type = 'all'
        and period_number = 1
        and is_mature
),

cohort_figures as (
    select
        case when cohort_start_on = newest_cohort_on then 'now' else 'before' end
            as moment,
        retention_rate as month_1_retention
    from month_1_cells
    where cohort_start_on in (
        newest_cohort_on, {{ perennial.add_months('newest_cohort_on', -1) }}
    )
),

by_moment as (
    select
        moments.moment,
        order_figures.active_customers,
        order_figures.net_amount - refund_figures.refund_amount as revenue,
        order_figures.average_order,
        newcomer_figures.second_order_rate,
        cohort_figures.month_1_retention
    from moments
    left join order_figures
        on moments.moment = order_figures.moment
    left join refund_figures
        on moments.moment = refund_figures.moment
    left join newcomer_figures
        on moments.moment = newcomer_figures.moment
    left join cohort_figures
        on moments.moment = cohort_figures.moment
)

{% for figure, label, unit, explanation in figures -%}
select
    cast({{ loop.index }} as integer) as figure_number,
    cast('{{ figure }}' as string) as figure,
    cast('{{ label }}' as string) as label,
    cast('{{ unit }}' as string) as unit,
    cast((select {{ figure }} from by_moment where moment = 'now') as double) as value,
    cast((select {{ figure }} from by_moment where moment = 'before') as double)
        as previous_value,
    cast('{{ explanation }}' as string) as explanation
{{ 'union all' if not loop.last }}
{% endfor %}
