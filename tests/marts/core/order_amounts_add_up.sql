-- Lines add up to their order cent for cent, and net is gross less discounts.
with lines as (
    select
        order_id,
        sum(net_amount) as net_amount
    from {{ ref('order_items') }}
    group by all
)

select
    orders.order_id,
    orders.net_amount,
    lines.net_amount as net_amount_of_lines
from {{ ref('orders') }} as orders
left join lines
    on orders.order_id = lines.order_id
where
    orders.net_amount <> orders.gross_amount - orders.discount_amount
    or orders.net_amount <> coalesce(lines.net_amount, 0)
    or (
        not orders.is_cancelled
        and orders.revenue_amount <> orders.net_amount - orders.refund_amount
    )
