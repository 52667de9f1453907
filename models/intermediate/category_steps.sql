-- Each order by the category on which most of it was spent, and that of the customer's next.
with spent as (
    select
        orders.customer_id,
        orders.order_id,
        orders.ordered_at,
        orders.ordered_on,
        items.category,
        row_number() over (
            partition by orders.order_id
            order by sum(items.net_amount) desc nulls last, items.category nulls last
        ) as place
    from {{ ref('orders') }} as orders
    inner join {{ ref('order_items') }} as items
        on orders.order_id = items.order_id
    where
        orders.customer_id is not null
        and not orders.is_cancelled
    group by
        orders.customer_id, orders.order_id, orders.ordered_at, orders.ordered_on,
        items.category
)

select
    customer_id,
    order_id,
    ordered_on,
    category,
    row_number() over customer_orders as order_number,
    lead(category) over customer_orders as next_category,
    lead(ordered_on) over customer_orders as next_ordered_on
from spent
where place = 1
window customer_orders as (
    partition by customer_id
    order by ordered_at, order_id
)
