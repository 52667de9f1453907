-- The days on which a customer bought of a category; two orders of a day are one.
with purchase_days as (
    select distinct
        items.customer_id,
        coalesce(products.category, 'unknown') as category,
        orders.ordered_on
    from {{ ref('order_items') }} as items
    inner join {{ ref('orders') }} as orders
        on items.order_id = orders.order_id
    left join {{ ref('products') }} as products
        on items.product_id = products.product_id
    where
        orders.customer_id is not null
        and not orders.is_cancelled
),

-- Also of everything together, which is what categories of few intervals are drawn to.
intervals as (
    select
        category,
        cast(ordered_on - lag(ordered_on) over (
            partition by customer_id, category
            order by ordered_on nulls last
        ) as integer) as n_days
    from purchase_days

    union all

    select
        null as category,
        cast(ordered_on - lag(ordered_on) over (
            partition by customer_id
            order by ordered_on nulls last
        ) as integer) as n_days
    from (
        select distinct
            customer_id,
            ordered_on
        from {{ ref('orders') }}
        where
            customer_id is not null
            and not is_cancelled
    ) as order_days
),

measured as (
    select
        category,
        count(*) as n_intervals,
        ln(median(n_days)) as log_median,
        {{ perennial.log_variance('n_days') }} as log_variance
    from intervals
    where n_days is not null
    group by all
),

categories as (
    select distinct category from purchase_days
),

shrunk as (
    select
        categories.category,
        coalesce(measured.n_intervals, 0) as n_intervals,
        measured.log_median as own_log_median,
        {{ perennial.shrunk(
            'measured.log_median', 'measured.n_intervals', 'shop.log_median', 30
        ) }} as log_median,
        {{ perennial.shrunk(
            'measured.log_variance', 'measured.n_intervals', 'shop.log_variance', 30
        ) }} as log_variance
    from categories
    left join measured
        on categories.category = measured.category
    left join measured as shop
        on shop.category is null
)

select
    cast(category as string) as category,
    cast(n_intervals as bigint) as n_intervals,
    cast(exp(own_log_median) as double) as own_median_days,
    cast(exp(log_median) as double) as median_days,
    cast(sqrt(log_variance) as double) as log_spread
from shrunk
