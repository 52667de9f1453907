-- Whole numbers instead of texts, and each pair once: both make the join several times faster.
with item_counts as (
    select
        basis,
        product_id,
        count(*) as n_item
    from {{ ref('item_baskets') }}
    group by all
    -- An item that is rarer than the rarest pair we keep cannot be in such a pair.
    having count(*) >= {{ perennial.setting('similarity_min_count') }}
),

items as (
    select
        basis,
        product_id,
        n_item,
        cast(row_number() over (order by basis, product_id) as integer) as item_number
    from item_counts
),

baskets as (
    select
        items.basis,
        dense_rank() over (order by baskets.basis, baskets.basket_id) as basket_number,
        items.item_number
    from {{ ref('item_baskets') }} as baskets
    inner join items
        on
            baskets.basis = items.basis
            and baskets.product_id = items.product_id
),

pairs as (
    select
        one.item_number as item_number_a,
        other.item_number as item_number_b,
        count(*) as n_both
    from baskets as one
    inner join baskets as other
        on
            one.basket_number = other.basket_number
            and one.item_number < other.item_number
    group by all
    having count(*) >= {{ perennial.setting('similarity_min_count') }}
),

basket_counts as (
    select
        basis,
        count(distinct basket_id) as n_baskets
    from {{ ref('item_baskets') }}
    group by all
)

select
    items_a.basis,
    items_a.product_id as product_id_a,
    items_b.product_id as product_id_b,
    pairs.n_both,
    items_a.n_item as n_a,
    items_b.n_item as n_b,
    basket_counts.n_baskets
from pairs
inner join items as items_a
    on pairs.item_number_a = items_a.item_number
inner join items as items_b
    on pairs.item_number_b = items_b.item_number
inner join basket_counts
    on items_a.basis = basket_counts.basis
