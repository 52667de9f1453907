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
{%- set max_items = perennial.setting('similarity').max_items %}
-- Two kinds of baskets: what lay in one order, and what one customer ever bought.
with sold as (
    {%- for basis in ['order', 'customer'] %}
    select
        '{{ basis }}' as basis,
        {{ basis }}_id as basket_id,
        product_id,
        max(ordered_on) as last_bought_on
    from {{ ref('order_items') }}
    where
        not is_cancelled
        and {{ basis }}_id is not null
        {{ perennial.touched_only(
            "'" ~ basis ~ "', " ~ basis ~ '_id', 'and', 'basis, basket_id'
        ) }}
    group by {{ basis }}_id, product_id
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- A basket of n items makes n * (n - 1) / 2 pairs. Of a huge one a sample is counted, always
-- the same one: its items in the order of a hash, up to the setting similarity.max_items.
huge as (
    select
        basis,
        basket_id
    from sold
    group by all
    having count(*) > {{ max_items }}
),

placed as (
    select
        sold.basis,
        sold.basket_id,
        sold.product_id,
        row_number() over (
            partition by sold.basis, sold.basket_id
            order by md5(sold.basket_id || '|' || sold.product_id), sold.product_id
        ) as place
    from sold
    inner join huge
        on
            sold.basis = huge.basis
            and sold.basket_id = huge.basket_id
)

select
    sold.basis,
    sold.basket_id,
    sold.product_id,
    sold.last_bought_on,
    coalesce(placed.place <= {{ max_items }}, true) as is_counted
from sold
left join placed
    on
        sold.basis = placed.basis
        and sold.basket_id = placed.basket_id
        and sold.product_id = placed.product_id
