-- A product that was sold is a product, whether or not the catalogue still knows it.
with ids as (
    select product_id from {{ ref('stg_products') }}
    union
    select product_id from {{ ref('order_items') }}
),

sales as (
    select
        product_id,
        sum(quantity) as n_units,
        {{ perennial.complete_sum('net_amount') }} as net_amount,
        min(ordered_at) as first_sold_at,
        max(ordered_at) as last_sold_at
    from {{ ref('order_items') }}
    where not is_cancelled
    group by all
),

buyers as (
    select
        product_id,
        sum(n_baskets_with_item) filter (where basis = 'order') as n_orders,
        sum(n_baskets_with_item) filter (where basis = 'customer') as n_customers
    from {{ ref('item_counts') }}
    group by all
)

select
    cast(ids.product_id as string) as product_id,
    cast(catalogue.name as string) as name,
    cast(coalesce(catalogue.category, 'unknown') as string) as category,
    cast(catalogue.brand as string) as brand,
    cast(catalogue.description as string) as description,
    cast(catalogue.product_id is not null as boolean) as is_in_catalogue,
    cast(catalogue.price as decimal(18, 2)) as price,
    cast(catalogue.unit_cost as decimal(18, 2)) as unit_cost,
    cast(coalesce(buyers.n_orders, 0) as bigint) as n_orders,
    cast(coalesce(buyers.n_customers, 0) as bigint) as n_customers,
    cast(coalesce(sales.n_units, 0) as decimal(18, 3)) as n_units,
    cast(
        case when sales.product_id is null then 0 else sales.net_amount end as decimal(
            18, 2
        )
    )
        as net_amount,
    cast(sales.first_sold_at as timestamp) as first_sold_at,
    cast(sales.last_sold_at as timestamp) as last_sold_at
from ids
left join {{ ref('stg_products') }} as catalogue
    on ids.product_id = catalogue.product_id
left join sales
    on ids.product_id = sales.product_id
left join buyers
    on ids.product_id = buyers.product_id
