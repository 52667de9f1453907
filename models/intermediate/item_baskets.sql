{%- call perennial.touched() %}
    select
        'order' as basis,
        basket_id
    from ({{ perennial.changes('order_items', 'order_id', 'basket_id') }}) as orders
    union
    select
        'customer' as basis,
        basket_id
    from ({{ perennial.changes('order_items', 'customer_id', 'basket_id') }}) as customers
{%- endcall %}
-- Two kinds of baskets: what lay in one order, and what one customer ever bought.
with sold as (
    {%- for basis in ['order', 'customer'] %}
    select distinct
        '{{ basis }}' as basis,
        {{ basis }}_id as basket_id,
        product_id
    from {{ ref('order_items') }}
    where
        not is_cancelled
        and {{ basis }}_id is not null
        {{ perennial.touched_only(
            "'" ~ basis ~ "', " ~ basis ~ '_id', 'and', 'basis, basket_id'
        ) }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- A basket of n items makes n * (n - 1) / 2 pairs. Of a huge one a sample is counted, always
-- the same one: its items in the order of a hash, up to the setting similarity_max_items.
placed as (
    select
        *,
        row_number() over (
            partition by basis, basket_id
            order by md5(basket_id || '|' || product_id), product_id
        ) as place
    from sold
)

select
    basis,
    basket_id,
    product_id,
    place = 1 as is_first_of_basket,
    place <= {{ perennial.setting('similarity_max_items') }} as is_counted
from placed
