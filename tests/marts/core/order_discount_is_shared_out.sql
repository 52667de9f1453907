-- In the reporting currency nothing is converted: the shares of an order's discount are it.
with shares as (
    select
        order_id,
        sum(order_discount_amount) as shared_amount,
        sum(gross_amount - line_discount_amount) as amount
    from {{ ref('order_items') }}
    group by all
)

select
    orders.order_id,
    orders.discount_amount,
    shares.shared_amount
from {{ ref('priced_orders') }} as orders
inner join shares
    on orders.order_id = shares.order_id
where
    orders.exchange_rate = 1
    and shares.shared_amount
    <> greatest(least(orders.discount_amount, shares.amount), 0)
