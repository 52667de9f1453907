-- Two kinds of baskets: what lay in one order, and what one customer ever bought.
with sold as (
    select distinct
        'order' as basis,
        order_id as basket_id,
        product_id
    from {{ ref('order_items') }}
    where not is_cancelled

    union all

    select distinct
        'customer' as basis,
        customer_id as basket_id,
        product_id
    from {{ ref('order_items') }}
    where not is_cancelled and customer_id is not null
),

-- A basket of n items makes n * (n - 1) / 2 pairs. From a huge one a sample is taken, always
-- the same one: its items in the order of a hash, up to the setting similarity_max_items.
sampled as (
    select
        basis,
        basket_id,
        product_id,
        row_number() over (
            partition by basis, basket_id
            order by md5(basket_id || '|' || product_id), product_id
        ) as place
    from sold
)

select
    basis,
    basket_id,
    product_id
from sampled
where place <= {{ perennial.setting('similarity_max_items') }}
