{%- set max_items = perennial.setting('similarity').max_items %}
-- Who looks at more products than an order may have counted is a crawler, or looks for nothing.
with viewed as (
    select distinct
        session_id,
        product_id
    from {{ ref('events') }}
    where
        event_type = 'product_view'
        and product_id is not null
        and session_id is not null
)

select
    session_id,
    product_id
from viewed
qualify count(*) over (partition by session_id) <= {{ max_items }}
