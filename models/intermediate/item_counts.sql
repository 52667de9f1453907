with counted as (
    select
        basis,
        product_id,
        count(*) as n_baskets_with_item,
        cast(count_if(is_counted) as bigint) as n_item
    from {{ ref('item_baskets') }}
    group by all
),

baskets as (
    select
        basis,
        count(distinct basket_id) as n_baskets
    from {{ ref('item_baskets') }}
    group by all
)

select
    counted.basis,
    counted.product_id,
    -- From 0; the most frequent first, as pairs are counted fastest.
    cast(
        row_number() over (
            partition by counted.basis
            order by counted.n_item desc, counted.product_id asc
        ) - 1 as integer
    ) as item_number,
    counted.n_baskets_with_item,
    counted.n_item,
    baskets.n_baskets
from counted
inner join baskets
    on counted.basis = baskets.basis
