-- Customers and guests together have the revenue of all orders less all refunds that count.
with totals as (
    select
        (select coalesce(sum(revenue_amount), 0) from {{ ref('customers') }})
        + (
            select coalesce(sum(net_amount), 0)
            from {{ ref('orders') }}
            where is_guest and not is_cancelled
        ) - (
            select coalesce(sum(amount), 0)
            from {{ ref('refunds') }}
            where customer_id is null and not is_order_cancelled
        ) as by_customer,
        (
            select coalesce(sum(net_amount), 0)
            from {{ ref('orders') }}
            where not is_cancelled
        ) - (
            select coalesce(sum(amount), 0)
            from {{ ref('refunds') }}
            where not is_order_cancelled
        ) as by_order
)

select *
from totals
where by_customer <> by_order
