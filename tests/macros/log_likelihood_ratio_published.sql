-- Values of T. Dunning's ratio for (both, only a, only b, neither), as Apache Mahout's tests
-- give them.
with published (n_11, n_12, n_21, n_22, ratio) as (
    values
    (1, 0, 0, 1, 2.772589),
    (10, 0, 0, 10, 27.72589),
    (5, 1995, 0, 100000, 39.33052),
    (1000, 1995, 1000, 100000, 4730.737)
),

computed as (
    select
        *,
        {{ perennial.log_likelihood_ratio(
            'n_11', '(n_11 + n_12)', '(n_11 + n_21)', '(n_11 + n_12 + n_21 + n_22)'
        ) }} as computed_ratio
    from published
)

select *
from computed
where abs(computed_ratio - ratio) > 0.000001 * greatest(ratio, 100)
