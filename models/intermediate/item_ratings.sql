{%- set horizon = perennial.setting('churn_horizon_days') %}
-- Held out is what was rated after the test's cut. What was rated before it and came in after it
-- teaches nothing, and is nothing to foretell.
with rated as (
    select
        reviews.review_id,
        reviews.customer_id,
        reviews.product_id,
        reviews.rating,
        reviews.reviewed_on > {{ perennial.add_days('clock.as_of_on', -horizon) }}
            as is_held_out,
        {{ perennial.cut_number('reviews.known_at') | indent(8) }} as cut_number
    from {{ ref('reviews') }} as reviews
    cross join {{ ref('clock') }} as clock
)

select
    cast(review_id as string) as review_id,
    cast(customer_id as string) as customer_id,
    cast(product_id as string) as product_id,
    cast(rating as integer) as rating,
    cast(is_held_out as boolean) as is_held_out
from rated
where is_held_out or cut_number <= 2
