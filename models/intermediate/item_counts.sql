with counted as (
    select
        basis,
        product_id,
        count(*) as n_baskets_with_item,
        count_if(is_counted) as n_item,
        count_if(is_first_of_basket) as n_first
    from {{ ref('item_baskets') }}
    group by all
)

select
    basis,
    product_id,
    n_baskets_with_item,
    n_item,
    -- Every basket has one first item.
    cast(sum(n_first) over (partition by basis) as bigint) as n_baskets
from counted
