with lately as (
    select purchases.*
    from {{ ref('first_purchases') }} as purchases
    cross join {{ ref('clock') }} as clock
    where purchases.ordered_on > {{ perennial.add_days('clock.as_of_on', -365) }}
),

lists as (
    {{ perennial.newcomer_lists('lately') }}
)

select
    cast(segment_type as string) as segment_type,
    cast(segment as string) as segment,
    cast(place as integer) as recommendation_rank,
    cast(product_id as string) as product_id,
    cast(n_buyers as bigint) as n_buyers,
    cast(n_newcomers as bigint) as n_newcomers,
    cast(score as double) as score
from lists
