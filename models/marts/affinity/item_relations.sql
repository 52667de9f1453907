-- In visits and in orders: how many hold both, and how many would if the two were independent.
with counted as (
    select
        relations.product_id,
        relations.other_product_id,
        relations.n_viewed_both,
        coalesce(viewed.n_viewed, 0) as n_viewed,
        coalesce(other_viewed.n_viewed, 0) as n_other_viewed,
        coalesce(viewed.n_visits, other_viewed.n_visits) as n_visits,
        relations.n_bought_both,
        coalesce(bought.n_item, 0) as n_bought,
        coalesce(other_bought.n_item, 0) as n_other_bought,
        coalesce(bought.n_baskets, other_bought.n_baskets) as n_orders
    from {{ ref('py_item_relations') }} as relations
    left join {{ ref('viewed_counts') }} as viewed
        on relations.product_id = viewed.product_id
    left join {{ ref('viewed_counts') }} as other_viewed
        on relations.other_product_id = other_viewed.product_id
    left join {{ ref('item_counts') }} as bought
        on
            bought.basis = 'order'
            and relations.product_id = bought.product_id
    left join {{ ref('item_counts') }} as other_bought
        on
            other_bought.basis = 'order'
            and relations.other_product_id = other_bought.product_id
),

expected as (
    select
        *,
        cast(n_viewed as double) * n_other_viewed / n_visits as n_viewed_expected,
        cast(n_bought as double) * n_other_bought / n_orders as n_bought_expected
    from counted
),

measured as (
    select
        *,
        n_viewed_both / nullif(n_viewed_expected, 0) as viewed_lift,
        n_bought_both / nullif(n_bought_expected, 0) as bought_lift,
        -- Orders with both if they were bought together as they are viewed together.
        n_viewed_both / nullif(n_viewed_expected, 0) * n_bought_expected
            as n_bought_as_viewed,
        {{ perennial.log_likelihood_ratio(
            'n_viewed_both', 'n_viewed', 'n_other_viewed', 'n_visits'
        ) | indent(8) }}
            as viewed_ratio,
        {{ perennial.log_likelihood_ratio(
            'n_bought_both', 'n_bought', 'n_other_bought', 'n_orders'
        ) | indent(8) }}
            as bought_ratio
    from expected
),

-- 10.83: such a ratio chance gives once in a thousand pairs (chi-square, one degree of freedom).
judged as (
    select
        *,
        coalesce(bought_lift > 1 and bought_ratio > 10.83, false) as is_bought_together,
        coalesce(viewed_lift > 1 and viewed_ratio > 10.83, false) as is_viewed_together,
        -- The same ratio for a count that should be n_bought_as_viewed and is less.
        coalesce(
            n_bought_both < n_bought_as_viewed
            and 2 * (
                coalesce(
                    n_bought_both * ln(nullif(n_bought_both, 0) / n_bought_as_viewed), 0
                )
                - n_bought_both
                + n_bought_as_viewed
            ) > 10.83, false
        ) as is_bought_apart
    from measured
)

select
    cast(product_id as string) as product_id,
    cast(other_product_id as string) as other_product_id,
    cast(
        case
            when is_bought_together then 'complement'
            when is_viewed_together and is_bought_apart then 'substitute'
            else 'unclear'
        end as string
    ) as relation,
    cast(n_viewed_both as bigint) as n_viewed_both,
    cast(n_viewed as bigint) as n_viewed,
    cast(n_other_viewed as bigint) as n_other_viewed,
    cast(n_visits as bigint) as n_visits,
    cast(viewed_lift as double) as viewed_lift,
    cast(n_bought_both as bigint) as n_bought_both,
    cast(n_bought as bigint) as n_bought,
    cast(n_other_bought as bigint) as n_other_bought,
    cast(n_orders as bigint) as n_orders,
    cast(bought_lift as double) as bought_lift,
    cast(n_bought_as_viewed as double) as n_bought_as_viewed
from judged
