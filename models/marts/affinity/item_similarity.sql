-- Pairs are counted once; here each is seen from both of its ends.
with pairs as (
    select
        pairs.basis,
        pairs.product_id_a,
        pairs.product_id_b,
        pairs.n_both,
        items_a.n_item as n_a,
        items_b.n_item as n_b,
        items_a.n_baskets
    from {{ ref('item_pairs') }} as pairs
    inner join {{ ref('item_counts') }} as items_a
        on
            pairs.basis = items_a.basis
            and pairs.product_id_a = items_a.product_id
    inner join {{ ref('item_counts') }} as items_b
        on
            pairs.basis = items_b.basis
            and pairs.product_id_b = items_b.product_id
    where pairs.n_both >= {{ perennial.setting('similarity_min_count') }}
),

directed as (
    select
        basis,
        product_id_a as product_id,
        product_id_b as similar_product_id,
        n_both,
        n_a as n_product,
        n_b as n_similar,
        n_baskets
    from pairs

    union all

    select
        basis,
        product_id_b as product_id,
        product_id_a as similar_product_id,
        n_both,
        n_b as n_product,
        n_a as n_similar,
        n_baskets
    from pairs
),

measured as (
    select
        *,
        n_both / cast(n_baskets as double) as support,
        n_both / cast(n_product as double) as confidence,
        cast(n_both as double)
        * n_baskets
        / (cast(n_product as double) * n_similar) as lift,
        n_both / sqrt(cast(n_product as double) * n_similar) as cosine,
        n_both / cast(n_product + n_similar - n_both as double) as jaccard,
        {{ perennial.log_likelihood_ratio('n_both', 'n_product', 'n_similar', 'n_baskets') | indent(8) }}
            as log_likelihood_ratio
    from directed
),

ranked as (
    select
        *,
        row_number() over (
            partition by basis, product_id
            -- Rounded: two engines may differ in the last bit, and that must not change a rank.
            order by round(cosine, 12) desc, n_both desc, similar_product_id asc
        ) as similarity_rank
    from measured
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
    cast(confidence as double) as confidence,
    cast(lift as double) as lift,
    cast(cosine as double) as cosine,
    cast(jaccard as double) as jaccard,
    cast(log_likelihood_ratio as double) as log_likelihood_ratio
from ranked
where similarity_rank <= {{ perennial.setting('similarity_top_k') }}
