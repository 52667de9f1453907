-- The cohorts of each grain hold every customer who ever bought, once, and all their orders.
with cohorts as (
    select
        grain,
        sum(n_customers) filter (where period_number = 0) as n_customers,
        sum(n_orders_to_date) as n_orders
    from {{ ref('cohort_retention') }}
    where segment_type = 'all'
    group by all
),

buyers as (
    select
        count(*) as n_customers,
        sum(n_orders) as n_orders
    from {{ ref('customers') }}
    where n_orders > 0
)

select *
from cohorts
cross join buyers
where
    cohorts.n_customers <> buyers.n_customers
    or cohorts.n_orders <> buyers.n_orders
