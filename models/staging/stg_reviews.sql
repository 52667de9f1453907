select
    review_id,
    product_id,
    reviewed_at,
    rating,
    customer_id,
    title,
    body,
    language,
    ingested_at,
    first_ingested_at
from {{ ref('checked_reviews') }}
where refusal is null
