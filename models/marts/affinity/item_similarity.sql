{%- set similarity = perennial.setting('similarity') %}
{%- if perennial.similarity_way() == 'python' %}
with nearest as (
    select
        basis,
        product_id,
        similar_product_id,
        similarity_rank,
        n_both,
        decayed_cosine
    from {{ ref('py_similar_items') }}
),
{%- else %}
with pairs as (
    select
        counted.basis,
        counted.product_id_a,
        counted.product_id_b,
        counted.n_both,
        decayed.decayed_cosine
    from {{ ref('item_pairs') }} as counted
    left join {{ ref('decayed_pairs') }} as decayed
        on
            counted.basis = decayed.basis
            and counted.product_id_a = decayed.product_id_a
            and counted.product_id_b = decayed.product_id_b
    where counted.n_both >= {{ similarity.min_count }}
),

-- Pairs are counted once; here each is seen from both of its ends.
directed as (
    {%- for one, other in [('a', 'b'), ('b', 'a')] %}
    select
        basis,
        product_id_{{ one }} as product_id,
        product_id_{{ other }} as similar_product_id,
        n_both,
        decayed_cosine
    from pairs
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- Rounded: two engines may differ in the last bit, and that must not change a rank.
compared as (
    select
        directed.*,
        round(
            directed.n_both / sqrt(cast(items.n_item as double) * others.n_item), 12
        ) as cosine
    from directed
    inner join {{ ref('item_counts') }} as items
        on
            directed.basis = items.basis
            and directed.product_id = items.product_id
    inner join {{ ref('item_counts') }} as others
        on
            directed.basis = others.basis
            and directed.similar_product_id = others.product_id
),

ranked as (
    select
        *,
        row_number() over (
            partition by basis, product_id
            order by
                coalesce(decayed_cosine, cosine) desc,
                n_both desc,
                similar_product_id asc
        ) as similarity_rank
    from compared
),

nearest as (
    select
        basis,
        product_id,
        similar_product_id,
        similarity_rank,
        n_both,
        decayed_cosine
    from ranked
    where similarity_rank <= {{ similarity.top_k }}
),
{%- endif %}

counted as (
    select
        nearest.*,
        items.n_item as n_product,
        others.n_item as n_similar,
        items.n_baskets
    from nearest
    inner join {{ ref('item_counts') }} as items
        on
            nearest.basis = items.basis
            and nearest.product_id = items.product_id
    inner join {{ ref('item_counts') }} as others
        on
            nearest.basis = others.basis
            and nearest.similar_product_id = others.product_id
),

-- Orders with both if within every month the two were independent.
in_months as (
    select
        nearest.product_id,
        nearest.similar_product_id,
        -- Decimals: their sum is the same in whatever order it is taken.
        cast(sum(cast(
            cast(items.n_item as double) * others.n_item / items.n_baskets
            as decimal(38, 18)
        )) as double) as n_expected
    from nearest
    inner join {{ ref('item_months') }} as items
        on nearest.product_id = items.product_id
    inner join {{ ref('item_months') }} as others
        on
            nearest.similar_product_id = others.product_id
            and items.month_on = others.month_on
    where nearest.basis = 'order'
    group by all
),

measured as (
    select
        counted.*,
        in_months.n_expected as n_expected_by_month,
        cast(counted.n_both as double) / counted.n_baskets as support,
        cast(counted.n_product as double) / counted.n_baskets as support_product,
        cast(counted.n_similar as double) / counted.n_baskets as support_similar,
        -- Products of the margins of the two-by-two table; whole numbers could overflow.
        cast(counted.n_product as double) * counted.n_similar as margins,
        cast(counted.n_baskets - counted.n_product as double)
        * (counted.n_baskets - counted.n_similar) as other_margins,
        {{ perennial.log_likelihood_ratio(
            'counted.n_both', 'counted.n_product', 'counted.n_similar', 'counted.n_baskets'
        ) | indent(8) }}
            as log_likelihood_ratio
    from counted
    left join in_months
        on
            counted.basis = 'order'
            and counted.product_id = in_months.product_id
            and counted.similar_product_id = in_months.similar_product_id
)

select
    cast(basis as string) as basis,
    cast(product_id as string) as product_id,
    cast(similar_product_id as string) as similar_product_id,
    cast(similarity_rank as bigint) as similarity_rank,
    cast(n_both as bigint) as n_both,
    cast(n_product as bigint) as n_product,
    cast(n_similar as bigint) as n_similar,
    cast(n_baskets as bigint) as n_baskets,
    cast(support as double) as support,
    cast(n_both / cast(n_product as double) as double) as confidence,
    cast(n_both / cast(n_similar as double) as double) as confidence_back,
    cast(n_both * cast(n_baskets as double) / margins as double) as lift,
    cast(support - support_product * support_similar as double) as leverage,
    cast(
        (1 - support_similar)
        / nullif(1 - n_both / cast(n_product as double), 0) as double
    ) as conviction,
    cast(n_both / sqrt(margins) as double) as cosine,
    cast(decayed_cosine as double) as decayed_cosine,
    cast(n_both / cast(n_product + n_similar - n_both as double) as double) as jaccard,
    cast(
        (cast(n_baskets as double) * n_both - margins)
        / nullif(sqrt(margins * other_margins), 0) as double
    ) as pearson,
    cast(log_likelihood_ratio as double) as log_likelihood_ratio,
    cast(2 * {{ perennial.normal_tail('sqrt(log_likelihood_ratio)') }} as double)
        as log_likelihood_p_value,
    cast(n_expected_by_month as double) as n_both_expected_by_month,
    cast(n_both / nullif(n_expected_by_month, 0) as double) as lift_by_month
from measured
