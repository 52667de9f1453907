-- Each way of segmenting holds every customer once, so its cells add up to those of all.
with summed as (
    select
        grain,
        segment_type,
        cohort_start_on,
        period_number,
        sum(n_customers) as n_customers,
        sum(n_active_customers_to_date) as n_active,
        sum(n_orders_to_date) as n_orders,
        sum(revenue_amount_to_date) as revenue_amount
    from {{ ref('cohort_retention') }}
    group by all
)

select segments.*
from summed as segments
inner join summed as everyone
    on
        everyone.segment_type = 'all'
        and segments.grain = everyone.grain
        and segments.cohort_start_on = everyone.cohort_start_on
        and segments.period_number = everyone.period_number
where
    segments.n_customers <> everyone.n_customers
    or segments.n_active <> everyone.n_active
    or segments.n_orders <> everyone.n_orders
    or segments.revenue_amount <> everyone.revenue_amount
