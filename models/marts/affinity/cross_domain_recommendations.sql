select
    cast(shown.customer_id as string) as customer_id,
    cast(shown.domain_type as string) as domain_type,
    cast(shown.domain as string) as domain,
    cast(shown.recommendation_rank as integer) as recommendation_rank,
    cast(shown.product_id as string) as product_id,
    cast(shown.way as string) as way,
    cast(shown.score as double) as score,
    cast(shown.because_product_id as string) as because_product_id,
    cast(shown.n_evidence as bigint) as n_evidence,
    cast(shown.n_of as bigint) as n_of,
    cast(
        case
            when shown.because_product_id is not null
                then
                    'because of ' || coalesce(because.name, shown.because_product_id)
                    || ': ' || shown.n_evidence || ' of its ' || shown.n_of
                    || ' customers there bought it'
            else
                'bought there by ' || shown.n_evidence || ' of ' || shown.n_of
                || ' customers'
        end as string
    ) as explanation
from {{ ref('py_domain_recommendations') }} as shown
left join {{ ref('products') }} as because
    on shown.because_product_id = because.product_id
