-- Recommenders are judged at two days, one and two horizons ago, by what came in the horizon after.
-- An order that came in late was not known then, and is nothing that they could have foretold.
with bought as (
    select
        items.customer_id,
        items.product_id,
        cast(clock.as_of_on - items.ordered_on as integer) as days_ago,
        {{ perennial.cut_number('orders.known_at') | indent(8) }} as cut_number
    from {{ ref('order_items') }} as items
    inner join {{ ref('orders') }} as orders
        on items.order_id = orders.order_id
    cross join {{ ref('clock') }} as clock
    where
        items.customer_id is not null
        and not items.is_cancelled
        and items.ordered_on <= clock.as_of_on
)

select
    cast(customer_id as string) as customer_id,
    cast(product_id as string) as product_id,
    cast(days_ago as integer) as days_ago,
    cast({{ perennial.cut_name('min(cut_number)') | indent(4) }} as string)
        as known_from,
    cast({{ perennial.setting('churn_horizon_days') }} as integer) as horizon_days
from bought
group by customer_id, product_id, days_ago
