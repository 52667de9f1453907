select
    cast(reviews.review_id as string) as review_id,
    cast(reviews.product_id as string) as product_id,
    cast(reviews.customer_id as string) as customer_id,
    cast(reviews.rating as integer) as rating,
    cast(reviews.title as string) as title,
    cast(reviews.body as string) as body,
    cast(reviews.language as string) as language,
    cast(reviews.reviewed_at as timestamp) as reviewed_at,
    cast({{ perennial.local_date('reviews.reviewed_at') }} as date) as reviewed_on,
    cast(reviews.ingested_at as timestamp) as ingested_at
from {{ ref('stg_reviews') }} as reviews
where reviews.reviewed_at <= (select clock.as_of from {{ ref('clock') }} as clock)
