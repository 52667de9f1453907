select
    event_id,
    occurred_at,
    event_type,
    customer_id,
    anonymous_id,
    session_id,
    product_id,
    url,
    referrer,
    utm_source,
    utm_medium,
    utm_campaign,
    device,
    platform,
    value,
    properties,
    ingested_at,
    first_ingested_at
from {{ ref('checked_events') }}
where refusal is null
