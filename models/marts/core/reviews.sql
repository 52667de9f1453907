{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.changes('checked_reviews', 'review_id') }}
    union
    select review_id
    from {{ ref('stg_reviews') }}
    where
        {{ perennial.newly_happened('reviewed_at') }}
        or 'reviews' in ({{ perennial.changes('first_loads', 'table_name') }})
{%- endcall %}
with reviews as (
    select
        *,
        (
            select load_began_at
            from {{ ref('first_loads') }}
            where table_name = 'reviews'
        ) as load_began_at
    from {{ ref('stg_reviews') }}
    {{ perennial.touched_only('review_id') }}
)

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
    cast(reviews.ingested_at as timestamp) as ingested_at,
    cast(
        {{ perennial.known_at(
            'reviews.reviewed_at', 'reviews.first_ingested_at', 'reviews.load_began_at'
        ) }}
        as timestamp
    ) as known_at
from reviews
cross join {{ ref('clock') }} as clock
where reviews.reviewed_at <= clock.as_of
