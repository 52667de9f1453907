select
    cast(shown.customer_id as string) as customer_id,
    cast(shown.recommendation_rank as integer) as recommendation_rank,
    cast(shown.product_id as string) as product_id,
    cast(shown.recommender as string) as recommender,
    cast(shown.score as double) as score,
    cast(shown.reason as string) as reason,
    cast(shown.because_product_id as string) as because_product_id,
    cast(shown.segment as string) as segment,
    cast(shown.n_evidence as bigint) as n_evidence,
    cast(shown.n_of as bigint) as n_of,
    cast(
        case shown.reason
            when 'bought_before'
                then
                    'bought before, on ' || shown.n_evidence
                    || case shown.n_evidence when 1 then ' day' else ' days' end
            when 'bought_together'
                then
                    'because of ' || coalesce(because.name, shown.because_product_id)
                    || ': ' || shown.n_evidence || ' of its ' || shown.n_of
                    || ' customers bought both'
            when 'popular_in_segment'
                then
                    'bought by ' || shown.n_evidence || ' of ' || shown.n_of
                    || ' customers who like ' || shown.segment || ' best'
            else
                'bought by ' || shown.n_evidence || ' of ' || shown.n_of || ' customers'
        end as string
    ) as explanation
from {{ ref('py_recommendations') }} as shown
left join {{ ref('products') }} as because
    on shown.because_product_id = because.product_id
