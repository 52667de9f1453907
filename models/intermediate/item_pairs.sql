{%- set in_sql = perennial.similarity_way() == 'sql' %}
{%- call perennial.touched() %}
    -- What came into the baskets, and what left them, since the pairs were last counted.
    with moved as (
        select
            {{ perennial.json_item('value', 0) }} as basis,
            {{ perennial.json_item('value', 1) }} as basket_id,
            {{ perennial.json_item('value', 2) }} as product_id,
            n
        from ({{ perennial.net_changes('item_baskets', 'item') }}) as changes
        where n <> 0 {{ 'and false' if not in_sql }}
    ),

    present as (
        select
            basis,
            basket_id,
            product_id
        from {{ ref('item_baskets') }}
        where
            is_counted
            and (basis, basket_id) in (select (basis, basket_id) from moved)
    ),

    items as (
        select
            basis,
            basket_id,
            product_id,
            cast(present.product_id is not null as integer) as is_in,
            cast(present.product_id is not null as integer) - coalesce(moved.n, 0) as was_in
        from present
        full outer join moved using (basis, basket_id, product_id)
    )

    select
        one.basis,
        one.product_id as product_id_a,
        other.product_id as product_id_b,
        sum(one.is_in * other.is_in - one.was_in * other.was_in) as n_more
    from items as one
    inner join items as other
        on
            one.basis = other.basis
            and one.basket_id = other.basket_id
            and one.product_id < other.product_id
    group by all
    having sum(one.is_in * other.is_in - one.was_in * other.was_in) <> 0
{%- endcall %}
{%- if perennial.is_increment() %}
select
    touched.basis,
    touched.product_id_a,
    touched.product_id_b,
    cast(coalesce(counted.n_both, 0) + touched.n_more as bigint) as n_both
from touched_item_pairs as touched
left join {{ this }} as counted
    on
        touched.basis = counted.basis
        and touched.product_id_a = counted.product_id_a
        and touched.product_id_b = counted.product_id_b
where coalesce(counted.n_both, 0) + touched.n_more > 0
{%- else %}
-- Whole numbers instead of texts, and each pair once: both make the join several times faster.
with items as (
    select
        basis,
        product_id,
        cast(row_number() over (order by basis, product_id) as integer) as item_number
    from {{ ref('item_counts') }}
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
    where
        baskets.is_counted
        {%- if not in_sql %}
        -- They are counted in Python, by py_similar_items.
        and false
        {%- endif %}
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
)

select
    items_a.basis,
    items_a.product_id as product_id_a,
    items_b.product_id as product_id_b,
    cast(pairs.n_both as bigint) as n_both
from pairs
inner join items as items_a
    on pairs.item_number_a = items_a.item_number
inner join items as items_b
    on pairs.item_number_b = items_b.item_number
{%- endif %}
