with visits as (
    select count(distinct session_id) as n_visits
    from {{ ref('viewed_items') }}
),

counted as (
    select
        product_id,
        count(*) as n_viewed
    from {{ ref('viewed_items') }}
    group by product_id
)

select
    counted.product_id,
    cast(
        row_number() over (
            order by counted.n_viewed desc, counted.product_id asc
        ) - 1 as integer
    ) as item_number,
    counted.n_viewed,
    visits.n_visits
from counted
cross join visits
