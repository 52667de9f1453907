-- A pair's counts are the same from both ends, and every share is a share.
select one.*
from {{ ref('item_similarity') }} as one
inner join {{ ref('item_similarity') }} as other
    on
        one.basis = other.basis
        and one.product_id = other.similar_product_id
        and one.similar_product_id = other.product_id
where
    one.n_both <> other.n_both
    or one.n_product <> other.n_similar
    or one.n_both > least(one.n_product, one.n_similar)
    or one.cosine > 1 + 1e-12
    or one.jaccard > 1
    or one.confidence > 1
    or one.log_likelihood_ratio < 0
