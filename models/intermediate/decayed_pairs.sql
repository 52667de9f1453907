{%- set half_life = perennial.setting('similarity').half_life_days %}
{%- set is_used = half_life and perennial.similarity_way() == 'sql' %}
with lines as (
    select
        baskets.basis,
        baskets.basket_id,
        baskets.product_id,
        {{ perennial.periods_between(
            'day', 'baskets.last_bought_on', 'clock.as_of_on'
        ) }} as days_ago
    from {{ ref('item_baskets') }} as baskets
    cross join {{ ref('clock') }} as clock
    where
        baskets.is_counted
        {%- if not is_used %}
        -- Purchases weigh the same however old, or are weighed by py_similar_items.
        and false
        {%- endif %}
),

-- The age of a pair is that of both purchases together.
aged as (
    select
        one.basis,
        one.product_id as product_id_a,
        other.product_id as product_id_b,
        one.days_ago + other.days_ago as days_ago,
        count(*) as n_both
    from lines as one
    inner join lines as other
        on
            one.basis = other.basis
            and one.basket_id = other.basket_id
            and one.product_id <= other.product_id
    group by all
),

dated as (
    select
        *,
        min(days_ago) over (
            partition by basis, product_id_a, product_id_b
        ) as youngest_days_ago
    from aged
),

-- Decimals: their sum is the same in whatever order it is taken. The youngest weighs 1 in it, so that
-- nothing is lost that counts.
weighed as (
    select
        basis,
        product_id_a,
        product_id_b,
        cast(sum(cast(
            n_both * power(0.5, (days_ago - youngest_days_ago) / {{ half_life or 1.0 }})
            as decimal(38, 18)
        )) as double)
        * power(0.5, youngest_days_ago / {{ half_life or 1.0 }}) as weight
    from dated
    group by basis, product_id_a, product_id_b, youngest_days_ago
),

-- A product lies in all of its baskets with itself.
items as (
    select
        basis,
        product_id_a as product_id,
        weight
    from weighed
    where product_id_a = product_id_b
)

-- What is so old that its weight cannot be told from none is similar to nothing.
select
    pairs.basis,
    pairs.product_id_a,
    pairs.product_id_b,
    round(
        coalesce(pairs.weight / nullif(sqrt(items_a.weight * items_b.weight), 0), 0), 12
    ) as decayed_cosine
from weighed as pairs
inner join items as items_a
    on
        pairs.basis = items_a.basis
        and pairs.product_id_a = items_a.product_id
inner join items as items_b
    on
        pairs.basis = items_b.basis
        and pairs.product_id_b = items_b.product_id
where pairs.product_id_a < pairs.product_id_b
