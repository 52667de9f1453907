-- The same months for two products: that both sell in December makes them no pair.
with months as (
    select
        product_id,
        cast(date_trunc('month', last_bought_on) as date) as month_on,
        count(*) as n_item
    from {{ ref('item_baskets') }}
    where
        basis = 'order'
        and is_counted
    group by all
),

orders as (
    select
        cast(date_trunc('month', last_bought_on) as date) as month_on,
        count(distinct basket_id) as n_baskets
    from {{ ref('item_baskets') }}
    where basis = 'order'
    group by all
)

select
    months.product_id,
    months.month_on,
    months.n_item,
    orders.n_baskets
from months
inner join orders
    on months.month_on = orders.month_on
